// SPDX-License-Identifier: Apache-2.0
// From a call to a line in the sink, without ever failing the caller.

#include <belay/core/error.hpp>
#include <belay/telemetry/logger.hpp>
#include <atomic>

#include "last_resort.hpp"
#include "record.hpp"

namespace belay::telemetry {

std::string_view to_string(log_format of) noexcept { return of == log_format::json ? "json" : "pretty"; }

std::optional<log_format> log_format_from(std::string_view name) noexcept {
  if (name == "json") return log_format::json;
  if (name == "pretty") return log_format::pretty;
  return std::nullopt;
}

struct logger::shared {
  shared(std::shared_ptr<sink> output, logger_options options)
      : target(std::move(output)),
        format(options.format),
        secrets(std::move(options.secret_keys)),
        rules{&secrets, options.max_text_bytes, options.max_trace_rows},
        wall_clock(std::move(options.wall_clock)),
        threshold(options.threshold) {}

  // constant after construction
  const std::shared_ptr<sink> target;
  const log_format format;
  const redactor secrets;
  const detail::render_rules rules;
  const std::function<std::chrono::system_clock::time_point()> wall_clock;

  std::atomic<level> threshold;
  std::atomic<std::uint64_t> written{0};
  std::atomic<std::uint64_t> sink_failures{0};
  std::atomic<std::uint64_t> lost{0};

  std::chrono::system_clock::time_point now() const {
    return wall_clock ? wall_clock() : std::chrono::system_clock::now();
  }

  void emit(detail::record_view record) noexcept {
    std::string line;
    try {
      record.time = now();
      line = format == log_format::json ? detail::render_json(record, rules)
                                        : detail::render_pretty(record, rules);
    } catch (...) {
      lost.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    try {
      target->write(record.importance, line);
      written.fetch_add(1, std::memory_order_relaxed);
    } catch (...) {
      sink_failures.fetch_add(1, std::memory_order_relaxed);
      detail::write_to_stderr(line);
    }
  }
};

logger::logger(std::shared_ptr<sink> target, logger_options options) {
  if (!target) throw belay::error(error_kind::invalid, "log_sink", "logger: no sink was given");
  shared_ = std::make_shared<shared>(std::move(target), std::move(options));
}

logger::logger(std::shared_ptr<shared> state, std::shared_ptr<const fields> bound) noexcept
    : shared_(std::move(state)), bound_(std::move(bound)) {}

bool logger::enabled(level importance) const noexcept {
  return importance < level::off && importance >= shared_->threshold.load(std::memory_order_relaxed);
}

void logger::set_threshold(level threshold) noexcept {
  shared_->threshold.store(threshold, std::memory_order_relaxed);
}

logger logger::with(fields bound) const {
  fields all = bound_ ? *bound_ : fields();
  all.reserve(all.size() + bound.size());
  for (field& next : bound) all.push_back({std::move(next.key), detail::computed(next.value)});
  return logger(shared_, std::make_shared<const fields>(std::move(all)));
}

void logger::write(level importance, std::string_view event, std::span<const field> own) const noexcept {
  write(importance, event, failure(), own);
}

void logger::write(level importance, std::string_view event, const failure& what,
                   std::span<const field> own) const noexcept {
  if (!enabled(importance)) return;
  shared_->emit({.time = {},
                 .importance = importance,
                 .event = event,
                 .what = &what,
                 .bound = bound_ ? std::span<const field>(*bound_) : std::span<const field>(),
                 .own = own});
}

void logger::write_lazy(level importance, std::string_view event,
                        const std::function<fields()>& make_fields) const noexcept {
  const auto failed = [&](const char* why) noexcept {
    try {
      write(importance, event, {{"fields", std::string("<no value: ") + why + ">"}});
    } catch (...) {
      shared_->lost.fetch_add(1, std::memory_order_relaxed);
    }
  };
  try {
    const fields own = make_fields();
    write(importance, event, std::span<const field>(own));
  } catch (const std::exception& problem) {
    failed(problem.what() ? problem.what() : "unknown error");
  } catch (...) {
    failed("unknown exception");
  }
}

bool logger::flush(duration limit) const noexcept {
  try {
    return shared_->target->flush(limit);
  } catch (...) {
    shared_->sink_failures.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
}

log_format logger::format() const noexcept { return shared_->format; }

logger_statistics logger::statistics() const noexcept {
  return {.written = shared_->written.load(std::memory_order_relaxed),
          .sink_failures = shared_->sink_failures.load(std::memory_order_relaxed),
          .lost = shared_->lost.load(std::memory_order_relaxed) + shared_->target->dropped()};
}

const redactor& logger::redaction() const noexcept { return shared_->secrets; }

}  // namespace belay::telemetry

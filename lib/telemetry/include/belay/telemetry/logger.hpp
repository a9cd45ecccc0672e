// SPDX-License-Identifier: Apache-2.0
#pragma once
// Structured logs: one record is one line, as JSON for machines or as text for people.

#include <belay/core/failure.hpp>
#include <belay/telemetry/level.hpp>
#include <belay/telemetry/redactor.hpp>
#include <belay/telemetry/sink.hpp>
#include <belay/telemetry/value.hpp>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace belay::telemetry {

enum class log_format : unsigned char {
  json,    ///< one JSON object a line: `time`, `level`, `event`, `trace_id`?, then the fields
  pretty,  ///< time, level, event (or the field `message`), `key=value`; a failure follows on indented lines
};

/// "json", "pretty".
[[nodiscard]] std::string_view to_string(log_format of) noexcept;
[[nodiscard]] std::optional<log_format> log_format_from(std::string_view name) noexcept;

struct logger_options {
  level threshold = level::info;  ///< records below it are not made
  log_format format = log_format::json;
  std::vector<std::string> secret_keys = default_secret_keys();  ///< see `redactor`; empty masks nothing
  std::size_t max_text_bytes = 16 * 1024;  ///< longer texts are cut, and say so; 0: no limit
  std::size_t max_trace_rows = 64;         ///< longer async traces lose their middle, and say so
  /// The wall clock; empty means the machine's.
  std::function<std::chrono::system_clock::time_point()> wall_clock = {};
};

struct logger_statistics {
  std::uint64_t written = 0;        ///< records that the sink took
  std::uint64_t sink_failures = 0;  ///< records that the sink refused; they went to stderr
  std::uint64_t lost = 0;  ///< records that could not be made (no memory) or that a sink dropped later
};

/// Writes structured records: `log.info("user_created", {{"id", 7}, {"email", mail}})`.
///
/// A record has `time` (RFC 3339, UTC, microseconds), `level`, `event` (a short stable name), `trace_id` when
/// a field of that name is bound or given, and the fields. The event's own field wins over a bound one of the
/// same name. A field that would hide `time`, `level`, `event` or the failure gets `_` appended to its name.
/// Invalid UTF-8 is replaced, secrets are masked, and no text can break a line.
///
/// Errors: none. Logging never throws and never fails the work that logs: what goes wrong is counted
/// (`statistics`).
/// Lifetime: copies and children (`with`) share sink, threshold and counters.
/// Thread: all members may be called from any thread.
class logger {
 public:
  explicit logger(std::shared_ptr<sink> target, logger_options options = {});

  [[nodiscard]] bool enabled(level importance) const noexcept;
  void set_threshold(level threshold) noexcept;

  /// A logger that adds `bound` to each of its records. Lazy values are computed here, once.
  [[nodiscard]] logger with(fields bound) const;

  /// Writes one record, if `importance` reaches the threshold.
  void write(level importance, std::string_view event, std::span<const field> own) const noexcept;
  void write(level importance, std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(importance, event, std::span<const field>(own.begin(), own.size()));
  }
  /// `make_fields` is called only when the record is written. What it throws becomes a placeholder field.
  template <std::invocable F>
    requires std::convertible_to<std::invoke_result_t<F&>, fields>
  void write(level importance, std::string_view event, F&& make_fields) const noexcept {
    if (enabled(importance))
      write_lazy(importance, event, [&make_fields]() -> fields { return make_fields(); });
  }
  /// With the whole failure as member `failure`: type, message, kind, code, trace, notes, attached, cause. No
  /// failure, no member. Writing it marks as observed what is written: all it holds, but for what is cut
  /// (more than 7 deep or 200 in all), which goes to the failure sink like any other. Below the threshold
  /// nothing is marked.
  void write(level importance, std::string_view event, const failure& what,
             std::span<const field> own) const noexcept;
  void write(level importance, std::string_view event, const failure& what,
             std::initializer_list<field> own = {}) const noexcept {
    write(importance, event, what, std::span<const field>(own.begin(), own.size()));
  }

  void trace(std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(level::trace, event, own);
  }
  void debug(std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(level::debug, event, own);
  }
  void info(std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(level::info, event, own);
  }
  void warn(std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(level::warn, event, own);
  }
  void warn(std::string_view event, const failure& what,
            std::initializer_list<field> own = {}) const noexcept {
    write(level::warn, event, what, own);
  }
  void error(std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(level::error, event, own);
  }
  void error(std::string_view event, const failure& what,
             std::initializer_list<field> own = {}) const noexcept {
    write(level::error, event, what, own);
  }
  void fatal(std::string_view event, std::initializer_list<field> own = {}) const noexcept {
    write(level::fatal, event, own);
  }
  void fatal(std::string_view event, const failure& what,
             std::initializer_list<field> own = {}) const noexcept {
    write(level::fatal, event, what, own);
  }
  /// As above, the fields made only when they are written.
  template <std::invocable F>
  void trace(std::string_view event, F&& make_fields) const noexcept {
    write(level::trace, event, std::forward<F>(make_fields));
  }
  template <std::invocable F>
  void debug(std::string_view event, F&& make_fields) const noexcept {
    write(level::debug, event, std::forward<F>(make_fields));
  }
  template <std::invocable F>
  void info(std::string_view event, F&& make_fields) const noexcept {
    write(level::info, event, std::forward<F>(make_fields));
  }

  [[nodiscard]] log_format format() const noexcept;

  /// Pushes out what the sink holds, waiting `limit` at most. False: not all of it is out.
  bool flush(duration limit = std::chrono::seconds(2)) const noexcept;

  [[nodiscard]] logger_statistics statistics() const noexcept;

  /// The rules by which this logger masks secrets, for other texts (problem bodies).
  [[nodiscard]] const redactor& redaction() const noexcept;

 private:
  struct shared;

  logger(std::shared_ptr<shared> state, std::shared_ptr<const fields> bound) noexcept;
  void write_lazy(level importance, std::string_view event,
                  const std::function<fields()>& make_fields) const noexcept;

  std::shared_ptr<shared> shared_;
  std::shared_ptr<const fields> bound_;
};

}  // namespace belay::telemetry

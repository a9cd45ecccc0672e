// SPDX-License-Identifier: Apache-2.0
// The outputs that spdlog writes: stderr and files.

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <belay/core/error.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/telemetry/sink.hpp>
#include <cstdio>
#include <stdexcept>

namespace belay::telemetry {

namespace {

spdlog::level::level_enum spdlog_level(level importance) {
  switch (importance) {
    case level::trace: return spdlog::level::trace;
    case level::debug: return spdlog::level::debug;
    case level::info: return spdlog::level::info;
    case level::warn: return spdlog::level::warn;
    case level::error: return spdlog::level::err;
    case level::fatal: return spdlog::level::critical;
    case level::off: break;
  }
  return spdlog::level::off;
}

// The lines are finished already: spdlog adds the end of the line and nothing else.
template <class Spdlog>
class spdlog_output {
 public:
  template <class... Args>
  explicit spdlog_output(Args&&... args) : output_(std::forward<Args>(args)...) {
    output_.set_pattern("%v");
  }
  void log(level importance, std::string_view text) {
    output_.log(spdlog::details::log_msg(spdlog::string_view_t(), spdlog_level(importance),
                                         spdlog::string_view_t(text.data(), text.size())));
  }
  void flush() { output_.flush(); }

 private:
  Spdlog output_;
};

class stderr_output final : public sink {
 public:
  void write(level importance, std::string_view text) override {
    output_.log(importance, text);
    // spdlog does not look whether the C library could write.
    if (std::ferror(stderr) != 0) {
      std::clearerr(stderr);
      throw std::runtime_error("stderr: write failed");
    }
  }
  bool flush(duration) override {
    output_.flush();
    return true;
  }

 private:
  spdlog_output<spdlog::sinks::stderr_sink_mt> output_;
};

class file_output final : public sink {
 public:
  explicit file_output(const std::string& path) : output_(path, false) {}

  void write(level importance, std::string_view text) override {
    output_.log(importance, text);
    if (importance >= level::error) output_.flush();
  }
  bool flush(duration) override {
    output_.flush();
    return true;
  }

 private:
  spdlog_output<spdlog::sinks::basic_file_sink_mt> output_;
};

}  // namespace

std::shared_ptr<sink> stderr_sink() { return std::make_shared<stderr_output>(); }

std::shared_ptr<sink> file_sink(const std::string& path) {
  try {
    return std::make_shared<file_output>(path);
  } catch (const spdlog::spdlog_ex& problem) {
    throw belay::error(error_kind::unavailable, "log_file", "open log file " + path + ": " + problem.what());
  }
}

void memory_sink::write(level, std::string_view text) {
  const std::lock_guard hold(mutex_);
  lines_.emplace_back(text);
  if (lines_.size() > capacity_) lines_.pop_front();
}

bool memory_sink::flush(duration) {
  const std::lock_guard hold(mutex_);
  ++flushes_;
  return true;
}

std::vector<std::string> memory_sink::lines() const {
  const std::lock_guard hold(mutex_);
  return {lines_.begin(), lines_.end()};
}

std::size_t memory_sink::flushes() const {
  const std::lock_guard hold(mutex_);
  return flushes_;
}

void memory_sink::clear() {
  const std::lock_guard hold(mutex_);
  lines_.clear();
}

}  // namespace belay::telemetry

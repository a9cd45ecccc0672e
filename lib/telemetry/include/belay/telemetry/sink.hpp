// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where finished log lines go: stderr, a file, memory, or any of these behind a thread of its own.

#include <belay/core/time.hpp>
#include <belay/telemetry/level.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace belay::telemetry {

/// Takes finished lines. May throw: the logger counts that and falls back to stderr.
///
/// Thread: called from any thread, several at once.
class sink {
 public:
  sink() = default;
  sink(const sink&) = delete;
  sink& operator=(const sink&) = delete;
  virtual ~sink() = default;

  /// `text` is one whole record without the final newline.
  virtual void write(level importance, std::string_view text) = 0;

  /// Pushes out what is buffered, waiting `limit` at most. False: not all of it is out.
  virtual bool flush(duration limit) = 0;

  /// Records that were accepted and could not be kept.
  [[nodiscard]] virtual std::uint64_t dropped() const noexcept { return 0; }
};

/// Writes to stderr, at once.
[[nodiscard]] std::shared_ptr<sink> stderr_sink();

/// Appends to a file, making its parent directories. A record of level error or above is flushed at once.
/// Errors: `belay::error` (unavailable) naming the file and the reason when it cannot be opened.
[[nodiscard]] std::shared_ptr<sink> file_sink(const std::string& path);

struct background_sink_options {
  std::size_t capacity = 8192;  ///< records waiting, 1 or more; further ones are dropped and counted
  duration close_limit = std::chrono::seconds(2);  ///< for what is still waiting when the sink is destroyed
};

/// A slow or blocked output (a pipe that nobody reads) must not stop the loop: hands lines to `target` on a
/// thread of its own, in order. Never waits in `write`. What `target` throws is counted in `dropped()`, and
/// the line goes to stderr. When `target` still blocks after `close_limit`, its thread is left behind with
/// what it needs, and the rest is lost.
///
/// Errors: `belay::error` (invalid) for a capacity of 0 or no target.
[[nodiscard]] std::shared_ptr<sink> background_sink(std::shared_ptr<sink> target,
                                                    background_sink_options options = {});

}  // namespace belay::telemetry

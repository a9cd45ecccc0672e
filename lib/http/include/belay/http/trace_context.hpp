// SPDX-License-Identifier: Apache-2.0
#pragma once
// W3C Trace Context: which trace a request belongs to, read from and written to `traceparent` and
// `tracestate`.

#include <belay/http/headers.hpp>
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::http {

/// 16 bytes, never all zero once in use; a default one is the invalid id.
struct trace_id {
  std::array<std::uint8_t, 16> bytes{};
  [[nodiscard]] bool valid() const noexcept { return *this != trace_id{}; }
  friend auto operator<=>(const trace_id&, const trace_id&) = default;
};

/// 8 bytes, never all zero once in use.
struct span_id {
  std::array<std::uint8_t, 8> bytes{};
  [[nodiscard]] bool valid() const noexcept { return *this != span_id{}; }
  friend auto operator<=>(const span_id&, const span_id&) = default;
};

/// Lower-case hex, 32 and 16 digits.
[[nodiscard]] std::string to_string(const trace_id& id);
[[nodiscard]] std::string to_string(const span_id& id);

/// 64 random bits a call. Injected, so that a test or a replay knows the ids.
using random_source = std::function<std::uint64_t()>;

/// 64 bits of the system's secure generator, fetched from it in blocks: a few nanoseconds a call, where `std::random_device` may take
/// microseconds. A child of `fork` goes on with its parent's block: do not make ids there.
/// Errors: `std::system_error` when the system has none. Thread: any.
[[nodiscard]] std::uint64_t system_random();

/// Fresh ids; a source that gives zero is asked again, and after 8 times a fixed valid id is taken.
[[nodiscard]] trace_id make_trace_id(const random_source& random);
[[nodiscard]] span_id make_span_id(const random_source& random);

/// One entry of `tracestate`.
struct trace_state_member {
  std::string key{};
  std::string value{};
  friend bool operator==(const trace_state_member&, const trace_state_member&) = default;
};

/// The vendors' entries, the most recent first; at most 32.
class trace_state {
 public:
  /// Reads the joined field values. Nothing when the list is malformed or has more than 32 members: it is
  /// then discarded as a whole, which leaves the traceparent as it is. Empty members are skipped, equal keys
  /// kept.
  [[nodiscard]] static std::optional<trace_state> parse(std::string_view text);

  /// Puts an entry in front, in place of any of that key; of more than 32 the right-most goes.
  /// Errors:   `message_error` `invalid_tracestate` for a key or value outside of the grammar.
  void put(std::string_view key, std::string_view value);

  [[nodiscard]] const std::vector<trace_state_member>& members() const noexcept { return members_; }
  [[nodiscard]] bool empty() const noexcept { return members_.empty(); }
  /// "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const trace_state&, const trace_state&) = default;

 private:
  std::vector<trace_state_member> members_{};
};

/// The fields of a `traceparent`.
struct trace_parent {
  trace_id trace{};
  span_id parent{};
  bool sampled = false;

  /// Reads one field value (spaces and tabs around it are tolerated) as the specification has it: lower-case
  /// hex only, no zero ids, version ff refused, version 00 exactly 55 characters, higher versions read as far
  /// as they are known.
  [[nodiscard]] static std::optional<trace_parent> parse(std::string_view text);
  /// Always version 00, and no flag but "sampled".
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const trace_parent&, const trace_parent&) = default;
};

/// Where a unit of work stands in its trace.
struct trace_context {
  trace_id trace{};
  /// This unit's own id: what it sends as parent to others.
  span_id span{};
  /// The caller's span, when the trace came from outside.
  std::optional<span_id> parent{};
  bool sampled = true;
  trace_state state{};

  /// "00-<trace>-<span>-01", for answers and for calls to others.
  [[nodiscard]] std::string to_traceparent() const;
};

/// The context for serving a message with these fields: goes on with the trace of a single valid
/// `traceparent`, with a span of its own; otherwise (none, several, malformed) starts a new trace, and
/// `tracestate` is not looked at.
[[nodiscard]] trace_context continue_trace(const headers& from, const random_source& random);
/// A new trace.
[[nodiscard]] trace_context start_trace(const random_source& random);
/// A unit of work within `of`, for instance a call to another service.
[[nodiscard]] trace_context make_child(const trace_context& of, const random_source& random);
/// Sets `traceparent` and, unless it is empty, `tracestate`.
void inject(const trace_context& context, headers& into);

/// `X-Request-Id`, if it is there once and has 1 to 128 letters, digits and "-._~:/+=@": otherwise empty, so that it can go into logs and
/// other requests as it is. Lifetime: that of the fields.
[[nodiscard]] std::string_view request_id(const headers& from) noexcept;

}  // namespace belay::http

// SPDX-License-Identifier: Apache-2.0
// The event stream format: fields, lines, comments.

#include <belay/core/detail/place.hpp>
#include <belay/http/sse.hpp>

#include <algorithm>
#include <utility>

namespace belay::http {
namespace {

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value) += '\n';
}

void require_line(std::string_view field, std::string_view value) {
  for (std::string_view rest = value; !rest.empty();) {
    const std::size_t length = detail::utf8_length(rest);
    if (rest[0] == '\r' || rest[0] == '\n' || rest[0] == '\0' || length == 0) {
      throw message_error("invalid_event", "sse_event: the " + std::string(field) + " holds " +
                                               (length == 0 ? "what is no UTF-8" : "CR, LF or NUL") +
                                               " at offset " + std::to_string(value.size() - rest.size()));
    }
    rest.remove_prefix(length);
  }
}

// One field for each line of `data`, at least one: an event without any is not dispatched.
void append_data(std::string& out, std::string_view data) {
  out += "data: ";
  while (!data.empty()) {
    const auto plain = static_cast<std::size_t>(
        std::find_if(data.begin(), data.end(),
                     [](char c) { return c == '\r' || c == '\n' || (c & 0x80) != 0; }) -
        data.begin());
    out.append(data.substr(0, plain));
    data.remove_prefix(plain);
    if (data.empty()) break;
    const char c = data[0];
    if (c == '\r' || c == '\n') {
      data.remove_prefix(data.starts_with("\r\n") ? 2 : 1);
      out += "\ndata: ";
      continue;
    }
    const std::size_t length = detail::utf8_length(data);
    out.append(length == 0 ? std::string_view("\xef\xbf\xbd") : data.substr(0, length));
    data.remove_prefix(length == 0 ? 1 : length);
  }
  out += '\n';
}

void append_retry(std::string& out, std::chrono::milliseconds wait) {
  if (wait < std::chrono::milliseconds::zero())
    throw message_error("invalid_event", "sse_event: retry is negative");
  append_field(out, "retry", std::to_string(wait.count()));
}

stream<std::string> to_text(stream<sse_event> from, std::optional<std::chrono::milliseconds> retry) {
  if (retry) {
    std::string first;
    append_retry(first, *retry);
    co_yield first += '\n';
  }
  open_stream<sse_event>& all = co_await use(std::move(from));
  while (const sse_event* one = co_await all.next()) co_yield serialise(*one);
}

}  // namespace

std::string serialise(const sse_event& from) {
  std::string out;
  out.reserve(from.data.size() + from.event.size() + 32);
  if (!from.event.empty()) {
    require_line("type", from.event);
    append_field(out, "event", from.event);
  }
  if (from.id) {
    require_line("id", *from.id);
    append_field(out, "id", *from.id);
  }
  if (from.retry) append_retry(out, *from.retry);
  append_data(out, from.data);
  return out += '\n';
}

response events(stream<sse_event> of, event_options options) {
  if (options.heartbeat < duration::zero()) throw misuse_error("event_options: heartbeat is negative");
  if (options.retry && *options.retry < std::chrono::milliseconds::zero())
    throw misuse_error("event_options: retry is negative");
  response out = response::streamed(
      status::ok, "text/event-stream", to_text(std::move(of), options.retry),
      {.drain = stream_options::on_drain::end, .heartbeat_every = options.heartbeat, .heartbeat = ":\n\n"});
  out.headers.add("Cache-Control", "no-store");
  out.headers.add("X-Accel-Buffering", "no");
  return out;
}

std::optional<std::string> last_event_id(const request& from) {
  const auto value = from.headers.find("Last-Event-ID");
  if (!value) return std::nullopt;
  return std::string(*value);
}

}  // namespace belay::http

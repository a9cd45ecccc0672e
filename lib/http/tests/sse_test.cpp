// SPDX-License-Identifier: Apache-2.0
// The event stream format, read back by a parser after the HTML standard's section 9.2.6; and the response with events.

#include "support_site.hpp"

#include <belay/core/sleep.hpp>
#include <belay/http/sse.hpp>
#include <doctest/doctest.h>

namespace http = belay::http;
using namespace std::chrono_literals;
using namespace std::string_literals;
using belay::task;

namespace {

// What an `EventSource` would dispatch.
struct dispatched {
  std::string type{};
  std::string data{};
  std::string last_id{};
  friend bool operator==(const dispatched&, const dispatched&) = default;
};
struct client_side {
  std::vector<dispatched> events{};
  std::optional<int> retry{};
  std::size_t comments = 0;
};

client_side read_events(std::string_view text) {
  client_side out;
  std::string data;
  std::string type;
  std::string id;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty()) {
    const std::size_t end = text.find_first_of("\r\n");
    if (end == std::string_view::npos) break;  // an unfinished line is dropped
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + (text.substr(end).starts_with("\r\n") ? 2 : 1));
    if (line.empty()) {
      if (!data.empty()) {
        data.pop_back();
        out.events.push_back({type.empty() ? "message" : type, data, id});
      }
      data.clear();
      type.clear();
      continue;
    }
    const std::size_t colon = line.find(':');
    if (colon == 0) {
      ++out.comments;
      continue;
    }
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") type = value;
    if (field == "data") data.append(value) += '\n';
    if (field == "id" && value.find('\0') == std::string_view::npos) id = value;
    if (field == "retry" && !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos)
      out.retry = std::stoi(std::string(value));
  }
  return out;
}

std::vector<dispatched> there_and_back(const http::sse_event& one) {
  return read_events(http::serialise(one)).events;
}

belay::stream<http::sse_event> ticks(int count, belay::duration every) {
  for (int i = 1; i <= count; ++i) {
    co_await belay::sleep_for(every);
    co_yield http::sse_event{.data = std::to_string(i), .id = std::to_string(i)};
  }
}

}  // namespace

TEST_CASE("sse: an event comes back as it was, whatever its data holds") {
  for (const std::string& data : {""s, " leading and trailing "s, "one\ntwo"s, "\n"s, "\n\n"s, "ends\n"s,
                                  ":comment"s, "data: x"s, "id: 7\nevent: y"s,
                                  "\xef\xbb\xbf"
                                  "bom"s,
                                  "smile \xf0\x9f\x98\x80"s, "nul \0 in it"s}) {
    CAPTURE(data);
    CHECK(there_and_back({.data = data}) == std::vector<dispatched>{{"message", data, ""}});
  }
  CHECK(there_and_back({.data = "x", .event = "price", .id = "42"}) ==
        std::vector<dispatched>{{"price", "x", "42"}});
  CHECK(there_and_back({.data = "x", .id = ""}) == std::vector<dispatched>{{"message", "x", ""}});
  CHECK(read_events(http::serialise({.data = "x", .retry = 2500ms})).retry == 2500);
}

TEST_CASE("sse: line ends of every kind are one; nothing in the data begins a field or an event [row 432]") {
  CHECK(there_and_back({.data = "a\r\nb\rc\nd"}) == std::vector<dispatched>{{"message", "a\nb\nc\nd", ""}});
  CHECK(there_and_back({.data = "a\r\n\r\nevent: evil\r\rdata: b"}) ==
        std::vector<dispatched>{{"message", "a\n\nevent: evil\n\ndata: b", ""}});
  CHECK(there_and_back({.data = "a\n\r"}) == std::vector<dispatched>{{"message", "a\n\n", ""}});
}

TEST_CASE(
    "sse: what is no UTF-8 becomes U+FFFD in data, and is refused in a type or an id, as are CR, LF and NUL") {
  CHECK(there_and_back({.data = "a\xff"
                                "b\xc3"}) == std::vector<dispatched>{{"message",
                                                                      "a\xef\xbf\xbd"
                                                                      "b\xef\xbf\xbd",
                                                                      ""}});
  for (const std::string& bad : {"a\nb"s, "a\rb"s, "a\0b"s, "\xff"s}) {
    CHECK_THROWS_AS(static_cast<void>(http::serialise({.data = "", .event = bad})), http::message_error);
    CHECK_THROWS_AS(static_cast<void>(http::serialise({.data = "", .event = "", .id = bad})),
                    http::message_error);
  }
  CHECK_THROWS_WITH(static_cast<void>(http::serialise({.event = "a\nb"})),
                    "sse_event: the type holds CR, LF or NUL at offset 1");
  CHECK_THROWS_AS(static_cast<void>(http::serialise({.retry = -1ms})), http::message_error);
}

TEST_CASE("sse: a response of events has its headers, its retry and its end") {
  const auto end = test::run_site(
      [](http::exchange& e) -> task<http::response> {
        CHECK(http::last_event_id(e.request) == "41");
        co_return http::events(ticks(3, 1s), {.retry = 3s});
      },
      [](http::server&) -> task<> {
        test::visitor v = co_await test::visitor::arrive();
        co_await v.send(test::ask("/events", "Last-Event-ID: 41\r\n"));
        const std::string head = co_await v.head();
        CHECK(test::holds(head, "Content-Type: text/event-stream\r\n"));
        CHECK(test::holds(head, "Cache-Control: no-store\r\n"));
        CHECK(test::holds(head, "X-Accel-Buffering: no\r\n"));
        CHECK(test::holds(head, "Transfer-Encoding: chunked\r\n"));
        const auto body = test::dechunk(co_await v.until("0\r\n\r\n"));
        CHECK(body.whole);
        const client_side got = read_events(body.content);
        CHECK(got.retry == 3000);
        CHECK(got.events ==
              std::vector<dispatched>{{"message", "1", "1"}, {"message", "2", "2"}, {"message", "3", "3"}});
        CHECK(got.comments == 0);
      });
  CHECK(end.lost.empty());
}

TEST_CASE("sse: a comment goes out when there was no event for so long, and loses no event") {
  const auto end =
      test::run_site([](http::exchange&) -> task<http::response> { co_return http::events(ticks(2, 40s)); },
                     [](http::server&) -> task<> {
                       test::visitor v = co_await test::visitor::arrive();
                       co_await v.send(test::ask("/events", "Connection: close\r\n"));
                       static_cast<void>(co_await v.head());
                       const client_side got = read_events(test::dechunk(co_await v.rest()).content);
                       CHECK(got.comments == 4);  // at 15, 30, 55, 70 s
                       CHECK(got.events.size() == 2);
                     });
  CHECK(end.elapsed == 80s);
}

TEST_CASE("sse: at a drain the events end at once, in good order; later ones do not begin") {
  bool cleaned = false;
  const auto end = test::run_site(
      [&](http::exchange&) -> task<http::response> {
        const auto endless = [](bool& gone) -> belay::stream<http::sse_event> {
          struct guard {
            bool& of;
            ~guard() { of = belay::current_cancellation().reason() == belay::cancel_reason::shutdown; }
          };
          const guard at_the_end{gone};
          while (true) {
            co_yield http::sse_event{.data = "tick"};
            co_await belay::sleep_for(1h);
          }
        };
        co_return http::events(endless(cleaned), {.heartbeat = 0s});
      },
      [&](http::server& web) -> task<> {
        test::visitor v = co_await test::visitor::arrive();
        co_await v.send(test::ask("/events"));
        static_cast<void>(co_await v.until("tick\n\n\r\n"));
        web.drain();
        CHECK(co_await v.rest() == "0\r\n\r\n");
        CHECK_FALSE(v.was_reset());
      });
  CHECK(cleaned);
  CHECK(end.elapsed < 1s);
  CHECK(end.lost.empty());
}

TEST_CASE("sse: a client that goes ends its events") {
  bool cleaned = false;
  http::delivery how = http::delivery::sent;
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange&, const http::response* what, http::delivery ended) {
    CHECK(what != nullptr);
    how = ended;
  };
  const auto end = test::run_site(
      [&](http::exchange&) -> task<http::response> {
        const auto endless = [](bool& gone) -> belay::stream<http::sse_event> {
          struct guard {
            bool& of;
            ~guard() { of = belay::current_cancellation().reason() == belay::cancel_reason::disconnect; }
          };
          const guard at_the_end{gone};
          co_await belay::sleep_for(1h);
          co_yield http::sse_event{};
        };
        co_return http::events(endless(cleaned));
      },
      [&](http::server&) -> task<> {
        {
          test::visitor v = co_await test::visitor::arrive();
          co_await v.send(test::ask("/events"));
          static_cast<void>(co_await v.head());
        }
        co_await belay::sleep_for(1s);
        CHECK(cleaned);
      },
      {}, std::move(hooks));
  CHECK(how == http::delivery::lost);
  CHECK(end.statistics.disconnects == 1);
  CHECK(end.lost.empty());
}

TEST_CASE("sse: wrong options are misuse") {
  CHECK_THROWS_AS(static_cast<void>(http::events(ticks(1, 1s), {.heartbeat = -1s})), belay::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(http::events(ticks(1, 1s), {.retry = -1ms})), belay::misuse_error);
}

// SPDX-License-Identifier: Apache-2.0
// Failures as text and JSON: everything shown, no secret, bounded, harmless for terminals and parsers.

#include <belay/errors/render.hpp>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

#include "support.hpp"

using namespace errors_tests;

namespace {

constexpr b::text_options plain{.colour = b::colours::never};

template <class E>
b::failure made(E what) {
  b::failure one = b::failure::of(std::make_exception_ptr(std::move(what)));
  one.observe();
  return one;
}

// A parser of just what JSON allows: gives the position after one value, or npos.
std::size_t skip_json(std::string_view s, std::size_t at, int depth = 0) {
  constexpr auto bad = std::string_view::npos;
  if (at >= s.size() || depth > 64) return bad;
  const auto word = [&](std::string_view w) { return s.substr(at).starts_with(w) ? at + w.size() : bad; };
  const auto text = [&](std::size_t i) {
    for (++i; i < s.size() && s[i] != '"'; ++i) {
      if (static_cast<unsigned char>(s[i]) < 0x20) return bad;
      if (s[i] == '\\') ++i;
    }
    return i < s.size() ? i + 1 : bad;
  };
  if (s[at] == '"') return text(at);
  if (s[at] == '{' || s[at] == '[') {
    const char close = s[at] == '{' ? '}' : ']';
    std::size_t i = at + 1;
    if (i < s.size() && s[i] == close) return i + 1;
    while (true) {
      if (close == '}') {
        if (i >= s.size() || s[i] != '"') return bad;
        i = text(i);
        if (i == bad || i >= s.size() || s[i] != ':') return bad;
        ++i;
      }
      i = skip_json(s, i, depth + 1);
      if (i == bad || i >= s.size()) return bad;
      if (s[i] == close) return i + 1;
      if (s[i] != ',') return bad;
      ++i;
    }
  }
  if (s[at] == 't') return word("true");
  if (s[at] == 'f') return word("false");
  if (s[at] == 'n') return word("null");
  const std::size_t end = s.find_first_not_of("-+.eE0123456789", at);
  return end == at ? bad : end;
}
bool is_json(const std::string& text) { return skip_json(text, 0) == text.size(); }

b::failure a_story() {
  b::testing::test_loop loop;
  const auto inner = []() -> b::task<int> {
    co_await b::yield();
    try {
      throw network_error("down", {{"host", "db"}, {"password", b::sensitive("hunter2")}});
    } catch (const network_error&) {
      throw b::with_retry_after(
          b::error(b::error_kind::overloaded, "no_profile", "no profile",
                   {{"user", 7}, {"token", b::sensitive("s3cret")}, {"ratio", 0.5}, {"first", true}}),
          1500ms);
    }
  };
  const auto outer = [&]() -> b::task<b::failure> {
    b::outcome<int> how = co_await b::as_outcome(inner());
    b::failure what = how.failure();
    what.note("while loading user 7");
    what.attach(made(std::runtime_error("beside it")));
    co_return what;
  };
  return loop.run(outer());
}

}  // namespace

TEST_CASE("render_text: tells what, where, what besides, and what was replaced; no secrets") {
  const std::string text = b::render_text(a_story(), plain);
  CAPTURE(text);
  for (const char* part :
       {"belay::error: no profile", "kind overloaded, code no_profile, may be tried again after 1500 ms",
        "made at    render_test.cpp:", "awaited at render_test.cpp:", "user = 7", "token = [sensitive]",
        "note: while loading user 7", "also: std::runtime_error: beside it", "replaced: ", "down",
        "host = db", "password = [sensitive]"}) {
    CHECK_MESSAGE(contains(text, part), part);
  }
  CHECK_FALSE(contains(text, "hunter2"));
  CHECK_FALSE(contains(text, "s3cret"));
  CHECK_FALSE(contains(text, "\x1b"));
  CHECK_FALSE(text.ends_with('\n'));
  CHECK(b::render_text(b::failure()) == "no failure");
}

TEST_CASE("render_json: valid, with all members; no secrets") {
  const std::string json = b::render_json(a_story());
  CAPTURE(json);
  CHECK(is_json(json));
  for (const char* part : {"\"type\":\"belay::error\"", "\"message\":\"no profile\"",
                           "\"kind\":\"overloaded\"", "\"code\":\"no_profile\"", "\"retryable\":true",
                           "\"retry_after_ms\":1500", "\"user\":7", "\"ratio\":0.5", "\"first\":true",
                           "\"token\":\"[sensitive]\"", "\"notes\":[\"while loading user 7\"]",
                           "\"trace\":[\"render_test.cpp:", "\"attached\":[{\"type\":\"std::runtime_error\"",
                           "\"cause\":{", "\"place\":\"render_test.cpp:"}) {
    CHECK_MESSAGE(contains(json, part), part);
  }
  CHECK_FALSE(contains(json, "hunter2"));
  CHECK_FALSE(contains(json, "s3cret"));
  CHECK_FALSE(contains(json, "truncated"));
  CHECK(b::render_json(b::failure()) == "null");
}

TEST_CASE("rendering: any bytes: JSON stays valid, nothing reaches the terminal as a command") {
  std::string bytes;
  for (int i = 1; i != 256; ++i) bytes += static_cast<char>(i);
  bytes +=
      "\xc2\x9b"
      "31m";                                // a C1 control in UTF-8
  bytes += "\xf0\x9f\x99\x82\xed\xa0\x80";  // a smiley, half a surrogate
  const b::failure what = made(b::error(b::error_kind::invalid, bytes, bytes,
                                        {{bytes, bytes}, {"x\"y", std::numeric_limits<double>::infinity()}}));
  b::failure noted = what;
  noted.note(bytes);
  const std::string json = b::render_json(what);
  CHECK(is_json(json));
  CHECK(contains(json, "\xf0\x9f\x99\x82"));
  const std::string text = b::render_text(what, plain);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool harmless = c == '\n' || (byte >= 0x20 && byte != 0x7f);
    CHECK(harmless);
  }
  CHECK(contains(text, "\\u001b"));
  CHECK(contains(text, "\\xff"));
  CHECK(contains(text, "\\u009b31m"));
  CHECK(contains(text, "\xf0\x9f\x99\x82"));
  CHECK_FALSE(contains(text, "\xc2\x9b"));
}

TEST_CASE("rendering: odd exceptions are no trouble") {
  struct silent : std::exception {
    const char* what() const noexcept override { return nullptr; }
  };
  CHECK(contains(b::render_text(made(silent()), plain), "(no message)"));
  CHECK(is_json(b::render_json(made(silent()))));
  CHECK(contains(b::render_json(made(42)), "\"type\":\"int\""));
  CHECK(contains(b::render_text(made(std::string("words")), plain), "words"));
}

TEST_CASE("rendering: the size is bounded, whatever the shape, and JSON stays valid") {
  const std::string huge(1'000'000, '\x01');
  b::failure what = made(b::error(b::error_kind::internal, huge, huge, {{huge, huge}}));
  for (int i = 0; i != 100; ++i) {
    b::failure side = made(std::runtime_error(huge));
    side.note(huge);
    b::failure below = side;
    for (int k = 0; k != 30; ++k) {
      const b::failure next = made(broken("deep"));
      below.attach(next);
      below = next;
    }
    what.attach(side);
    what.note(huge);
  }
  for (const std::size_t most : {std::size_t{1024}, std::size_t{1500}, std::size_t{5000}, std::size_t{65536},
                                 std::size_t{1'000'000}}) {
    CAPTURE(most);
    const std::string json = b::render_json(what, {.most_bytes = most});
    CHECK(json.size() <= most);
    CHECK(is_json(json));
    CHECK(contains(json, "\"truncated\":true"));
    for (const char* without_type : {"[{\"truncated\"", ",{\"truncated\""})
      CHECK_FALSE(contains(json, without_type));
    CHECK(contains(json, "\"type\":\"belay::error\""));
    const std::string text = b::render_text(what, {.colour = b::colours::always, .most_bytes = most});
    CHECK(text.size() <= most);
    CHECK(contains(text, "belay::error"));
  }
}

TEST_CASE("rendering: the same failure twice is told once; a long trace loses its middle") {
  const b::failure shared = made(std::runtime_error("shared"));
  b::failure one = made(std::runtime_error("one"));
  b::failure two = made(std::runtime_error("two"));
  one.attach(two);
  two.attach(shared);
  one.attach(shared);
  CHECK(contains(b::render_json(one), "\"repeated\":true"));
  CHECK(contains(b::render_text(one, plain), "(told above)"));

  b::testing::test_loop loop;
  struct chain {
    static b::task<int> down(int depth) {
      if (depth == 0) throw broken("bottom");
      co_return co_await down(depth - 1);
    }
  };
  const auto run = []() -> b::task<b::failure> {
    b::outcome<int> how = co_await b::as_outcome(chain::down(100));
    co_return how.failure();
  };
  const b::failure deep = loop.run(run());
  const std::string text = b::render_text(deep, {.colour = b::colours::never, .most_trace_rows = 8});
  CHECK(contains(text, "... 93 more"));
  CHECK(contains(b::render_json(deep, {.most_trace_rows = 8}), "... 93 more"));
}

TEST_CASE("rendering: limits out of range are refused") {
  CHECK_THROWS_AS(static_cast<void>(b::render_text(b::failure(), {.most_bytes = 1023})), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::render_json(b::failure(), {.most_bytes = 0})), b::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(b::render_json(b::failure(), {.most_trace_rows = 1})), b::misuse_error);
}

TEST_CASE("wants_colours: on a terminal that is not dumb, unless NO_COLOR is set") {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  REQUIRE(terminal >= 0);
  int pipe_ends[2] = {-1, -1};
  REQUIRE(::pipe(pipe_ends) == 0);
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  CHECK(b::wants_colours(terminal));
  CHECK_FALSE(b::wants_colours(pipe_ends[1]));
  ::setenv("NO_COLOR", "", 1);
  CHECK(b::wants_colours(terminal));
  ::setenv("NO_COLOR", "1", 1);
  CHECK_FALSE(b::wants_colours(terminal));
  ::unsetenv("NO_COLOR");
  ::setenv("TERM", "dumb", 1);
  CHECK_FALSE(b::wants_colours(terminal));
  for (const int fd : {terminal, pipe_ends[0], pipe_ends[1]}) ::close(fd);
  CHECK(contains(b::render_text(made(broken("x")), {.colour = b::colours::always}), "\x1b[1;31m"));
}

TEST_CASE("rendering: what is left out for want of room, counts as not looked at") {
  enum class form : unsigned char { none, json, text };
  const auto lost_after = [](form how) {
    b::testing::test_loop loop;
    std::size_t shown = 0;
    const auto run = [&]() -> b::task<> {
      b::failure what = b::failure::of(std::make_exception_ptr(network_error("the first")));
      for (int i = 0; i < 100; ++i) {
        b::failure one = b::failure::of(std::make_exception_ptr(network_error("beside")));
        one.attach(b::failure::of(std::make_exception_ptr(network_error("beside"))));
        what.attach(std::move(one));
      }
      what.observe();
      std::string text;
      if (how == form::json) text = b::render_json(what, {.most_bytes = 1500});
      if (how == form::text) text = b::render_text(what, {.colour = b::colours::never, .most_bytes = 1500});
      for (std::size_t at = 0; (at = text.find("beside", at)) != std::string::npos; ++at) ++shown;
      co_return;
    };
    loop.run(run());
    std::size_t lost = 0;  // one that is reported tells of what is attached to it, too
    for (const std::string& one : loop.lost_errors()) {
      for (std::size_t at = 0; (at = one.find("beside", at)) != std::string::npos; ++at) ++lost;
    }
    loop.forget_lost_errors();
    return std::pair(shown, lost);
  };
  CHECK(lost_after(form::none) == std::pair(std::size_t{0}, std::size_t{200}));
  for (const form how : {form::json, form::text}) {
    const auto [shown, lost] = lost_after(how);
    CHECK(shown > 2);
    CHECK(shown + lost == 200);
  }
}

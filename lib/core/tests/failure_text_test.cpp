// SPDX-License-Identifier: Apache-2.0
// Failures as one screen of text and as JSON: whatever is in them, within bounds.

#include <belay/core/detail/place.hpp>
#include <belay/core/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>

#include "support.hpp"

using namespace core_tests;

namespace {

b::failure make(std::string words) {
  b::failure made = b::failure::of(std::make_exception_ptr(boom(words)));
  made.observe();
  return made;
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Is `text` one JSON value and nothing else (RFC 8259)? Strings must be valid UTF-8 without control characters.
class json_reader {
 public:
  explicit json_reader(std::string_view text) : rest_(text) {}
  bool whole() { return value() && rest_.empty(); }

 private:
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  bool value() {
    if (rest_.empty()) return false;
    switch (rest_.front()) {
      case '{': return members();
      case '[': return elements();
      case '"': return string();
      default: return word("null") || word("true") || word("false") || number();
    }
  }
  bool number() {
    const std::size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    rest_.remove_prefix(digits);
    return digits != 0;
  }
  bool string() {
    if (!take('"')) return false;
    while (!rest_.empty() && rest_.front() != '"') {
      const auto byte = static_cast<unsigned char>(rest_.front());
      if (byte < 0x20) return false;
      std::size_t length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
      if (byte == '\\') length = rest_.size() > 1 && rest_[1] == 'u' ? 6 : 2;
      if (byte >= 0x80 && (byte < 0xc2 || byte > 0xf4)) return false;
      if (rest_.size() < length) return false;
      for (std::size_t i = 1; byte >= 0x80 && i < length; ++i) {
        if ((static_cast<unsigned char>(rest_[i]) & 0xc0) != 0x80) return false;
      }
      rest_.remove_prefix(length);
    }
    return take('"');
  }
  bool elements() {
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      if (!value()) return false;
    } while (take(','));
    return take(']');
  }
  bool members() {
    if (!take('{')) return false;
    if (take('}')) return true;
    do {
      if (!string() || !take(':') || !value()) return false;
    } while (take(','));
    return take('}');
  }
  std::string_view rest_;
};
bool is_json(const std::string& text) { return json_reader(text).whole(); }

}  // namespace

TEST_CASE("describe: of a thousand attached failures, one screen, with the number of the others") {
  b::failure what = make("first");
  for (int i = 0; i < 1'000; ++i) what.attach(make("n" + std::to_string(i)));
  const std::string text = b::describe(what);
  CHECK(text.size() < 32'000);
  CHECK(std::count(text.begin(), text.end(), '\n') < 60);
  CHECK(has(text, "also: core_tests::boom: n0\n"));
  CHECK(has(text, "also: core_tests::boom: n14\n"));
  CHECK(!has(text, "n15"));
  CHECK(text.ends_with("\n  ... and 985 more failures"));
}

TEST_CASE("describe: of a wide and deep tree, bounded as well; all of it counts as looked at") {
  b::testing::test_loop loop;
  loop.run([]() -> b::task<> {
    b::failure what = b::failure::of(std::make_exception_ptr(boom("top")));
    for (int i = 0; i < 10; ++i) {
      b::failure one = b::failure::of(std::make_exception_ptr(boom("middle")));
      for (int k = 0; k < 10; ++k) {
        b::failure two = b::failure::of(std::make_exception_ptr(boom("low")));
        for (int m = 0; m < 10; ++m) two.attach(b::failure::of(std::make_exception_ptr(boom("lowest"))));
        one.attach(std::move(two));
      }
      what.attach(std::move(one));
    }
    const std::string text = b::describe(what);
    CHECK(text.size() < 32'000);
    CHECK(text.ends_with("... and 1095 more failures"));
    co_return;
  }());
  CHECK(loop.lost_errors().empty());
}

TEST_CASE("describe: of a message of 100 KB, its beginning, whole characters, and how much was cut") {
  std::string words = "start ";
  while (words.size() < 100'000) words += "\xc3\xa4";  // two bytes each
  b::failure what = make(words);
  what.attach(make(words));
  what.note(words);
  for (int i = 0; i < 20; ++i) what.note("another");
  const std::string text = b::describe(what);
  CHECK(text.size() < 32'000);
  CHECK(has(text, "core_tests::boom: start \xc3\xa4"));
  CHECK(has(text, "\xc3\xa4... (92000 more bytes)"));
  CHECK(has(text, "\xc3\xa4... (99600 more bytes)"));
  CHECK(has(text, "... 13 more notes"));
}

TEST_CASE("describe: lines of a message stand below each other, and nothing in it can move a cursor") {
  b::failure what = make("one\ntwo\x1b[2J\r\x07");
  what.attach(make("three\nfour"));
  const std::string text = b::describe(what);
  CHECK(text ==
        "core_tests::boom: one\n  two\\x1b[2J\\x0d\\x07\n  also: core_tests::boom: three\n      four");
  const b::failure lines = make(std::string(5'000, '\n'));
  CHECK(b::describe(lines).size() < 2'000);
}

TEST_CASE("describe: of a trace of 256 places, the first and the last of them") {
  b::testing::test_loop loop;
  struct deep {
    static b::task<> down(int n) {
      if (n == 0) throw boom("x");
      co_await b::or_fail(down(n - 1));
    }
  };
  loop.run([]() -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(deep::down(10'000));
    const std::string text = b::describe(how.failure());
    CHECK(has(text, "  ... 232 places\n"));
    CHECK(std::count(text.begin(), text.end(), '\n') < 30);
    CHECK(is_json(b::to_json(how.failure())));
  }());
}

TEST_CASE("to_json: a failure with all that belongs to it") {
  b::testing::test_loop loop;
  auto work = []() -> b::task<> {
    try {
      co_await fails("below");
    } catch (const boom&) {
      throw b::error(b::error_kind::conflict, "email_taken", "that \"address\" is taken");
    }
  };
  loop.run([](auto& call) -> b::task<> {
    b::outcome<void> how = co_await b::as_outcome(call());
    b::failure what = how.failure();
    what.note("while adding user 7");
    what.attach(make("beside"));
    const std::string text = b::to_json(what);
    CHECK(is_json(text));
    CHECK(
        text.starts_with(R"({"type":"belay::error","message":"that \"address\" is taken","kind":"conflict",)"
                         R"("code":"email_taken","made_at":{"file":")"));
    CHECK(has(text, R"("trace":[{"file":")"));
    CHECK(has(text, R"("notes":["while adding user 7"])"));
    CHECK(has(
        text,
        R"("cause":{"type":"core_tests::boom","message":"below","kind":null,"code":null,"made_at":null,)"));
    CHECK(has(text, R"("attached":[{"type":"core_tests::boom","message":"beside",)"));
    CHECK(text.ends_with(R"(,"handled":true,"left_out":0})"));
  }(work));
  CHECK(b::to_json(b::failure()) == "null");
}

TEST_CASE("to_json: whatever the messages hold, it is valid and bounded") {
  std::string bytes;
  for (int i = 0; i < 100'000; ++i) bytes += static_cast<char>(i * 7);
  b::failure what = make(bytes);
  for (int i = 0; i < 1'000; ++i) {
    b::failure one = make(std::string(5'000, '\x01') + std::to_string(i));
    for (int k = 0; k < 10; ++k) one.note(std::string(1'000, '\x02'));
    what.attach(std::move(one));
  }
  what.note("\xff\xfe");
  const std::string text = b::to_json(what);
  CHECK(is_json(text));
  CHECK(text.size() < 256'000);
  CHECK(!has(text, "\"left_out\":0}"));
  CHECK(is_json(b::to_json(b::failure::of(std::make_exception_ptr(42)))));
}

TEST_CASE("cut_text: cuts at the beginning of a character, and leaves alone what fits") {
  CHECK(b::detail::cut_text("abc", 3) == "abc");
  CHECK(b::detail::cut_text("abcd", 3) == "abc... (1 more bytes)");
  CHECK(b::detail::cut_text("a\xf0\x9f\x98\x80z", 4) == "a... (5 more bytes)");
  CHECK(b::detail::cut_text("\x80\x80\x80\x80\x80\x80", 5).size() < 40);
}

TEST_CASE("describe: control characters, written in numbers, count as what they take") {
  b::failure top = make(std::string(20'000, '\x1b'));
  for (int i = 0; i < 20; ++i) top.note(std::string(5'000, '\x01'));
  b::failure at = top;
  for (int i = 0; i < 7; ++i) {
    b::failure below = make(std::string(20'000, '\x02'));
    for (int k = 0; k < 20; ++k) below.note(std::string(5'000, '\x01'));
    at.attach(below);
    at = below;
  }
  const std::string text = b::describe(top);
  CHECK(text.size() < 32u * 1024);
  CHECK(has(text, "\\x1b... (18000 more bytes)"));
  CHECK(b::to_json(top).size() < 256u * 1024);
}

TEST_CASE(
    "describe: the controls beyond ASCII, and bytes that are no characters, are written in numbers as well") {
  const std::string text =
      b::describe(make("a\xc2\x9b"
                       "31m, \x9b"
                       "31m, \xc3\xa4 \xe2\x82\xac\xc2\xa0."));
  CHECK(has(text, "a\\xc2\\x9b31m, \\x9b31m, \xc3\xa4 \xe2\x82\xac\xc2\xa0."));
}

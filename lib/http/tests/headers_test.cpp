// SPDX-License-Identifier: Apache-2.0
// Header fields: look-up, order, list members, and what is refused.

#include <belay/http/headers.hpp>
#include <doctest/doctest.h>

namespace http = belay::http;
using namespace std::string_literals;

TEST_CASE("headers: names are found in any case and kept as written, in order") {
  http::headers fields;
  fields.add("X-One", "1");
  fields.add("x-two", "2");
  fields.add("x-one", "3");
  CHECK(fields.find("x-ONE") == "1");
  CHECK(fields.count("X-One") == 2);
  CHECK(fields.combined("X-ONE") == "1, 3");
  CHECK_FALSE(fields.find("x-three"));
  CHECK(fields.begin()->name == "X-One");
  CHECK(fields.size() == 3);
}

TEST_CASE("headers: set replaces every field of the name, in the first one's place") {
  http::headers fields;
  fields.add("a", "1");
  fields.add("b", "2");
  fields.add("A", "3");
  fields.set("A", "4");
  CHECK(fields.size() == 2);
  CHECK(fields.begin()->value == "4");
  fields.set("c", "5");
  CHECK(fields.find("C") == "5");
  CHECK(fields.remove("B") == 1);
  CHECK(fields.remove("B") == 0);
}

TEST_CASE("headers: set and remove take views into the fields themselves") {
  http::headers fields;
  fields.add("name-long-enough-for-the-heap-1234567890", "value-long-enough-for-the-heap-1234567890");
  fields.add("NAME-long-enough-for-the-heap-1234567890", "second");
  fields.set(fields.begin()->name, fields.begin()->value);
  CHECK(fields.size() == 1);
  CHECK(fields.begin()->value == "value-long-enough-for-the-heap-1234567890");
  CHECK(fields.remove(fields.begin()->name) == 1);
}

TEST_CASE("headers: whitespace around a value is dropped, within it is kept") {
  http::headers fields;
  fields.add("a", " \t one  two\t ");
  CHECK(fields.find("a") == "one  two");
}

TEST_CASE("headers: list members are compared without case and whitespace") {
  http::headers fields;
  fields.add("Connection", "foo , Close");
  fields.add("connection", ",,upgrade,");
  CHECK(fields.has_token("connection", "close"));
  CHECK(fields.has_token("connection", "Upgrade"));
  CHECK_FALSE(fields.has_token("connection", "clos"));
  CHECK_FALSE(fields.has_token("connection", "foo , close"));
}

TEST_CASE("headers: a value with CR, LF, NUL or another control character is refused [row 432]") {
  http::headers fields;
  for (const std::string& value :
       {"a\r\nSet-Cookie: b"s, "a\n"s, "\ra"s, "a\0b"s, "a\x01"s, "a\x7f"s, "\x1b[0m"s}) {
    CAPTURE(value);
    CHECK_THROWS_AS(fields.add("x", value), http::message_error);
    CHECK_THROWS_AS(fields.set("x", value), http::message_error);
  }
  CHECK(fields.empty());
  CHECK_NOTHROW(fields.add("x", "tab\there, \xc3\xa9 and \xff are fine"));
}

TEST_CASE("headers: a control character is found wherever it stands, in values of every length [row 432]") {
  for (std::size_t length = 1; length <= 40; ++length) {
    for (std::size_t at = 0; at != length; ++at) {
      for (int byte = 0; byte != 256; ++byte) {
        std::string value(length, 'x');
        value[at] = static_cast<char>(byte);
        const bool control = (byte < 0x20 && byte != '\t') || byte == 0x7f;
        http::headers fields;
        bool taken = true;
        try {
          fields.add("x", value);
        } catch (const http::message_error&) {
          taken = false;
        }
        if (taken == control) FAIL_CHECK("length " << length << ", byte " << byte << " at " << at);
      }
    }
  }
}

TEST_CASE("headers: a name that is no token is refused [row 432]") {
  http::headers fields;
  for (const std::string& name : {""s, "a b"s, "a:"s, "a\r\n"s, "a\0"s, "\xc3\xa9"s, "(a)"s, " a"s}) {
    CAPTURE(name);
    CHECK_THROWS_AS(fields.add(name, "x"), http::message_error);
    CHECK_THROWS_AS(fields.set(name, "x"), http::message_error);
  }
  CHECK(fields.empty());
}

TEST_CASE("headers: the error names the header and the byte, and does not repeat the value [row 432]") {
  http::headers fields;
  try {
    fields.add("Authorization", "secret\r\n");
    FAIL("accepted");
  } catch (const http::message_error& e) {
    const std::string text = e.what();
    CHECK(text.find("Authorization") != std::string::npos);
    CHECK(text.find("CR") != std::string::npos);
    CHECK(text.find("offset 6") != std::string::npos);
    CHECK(text.find("secret") == std::string::npos);
    CHECK(e.kind() == belay::error_kind::invalid);
    CHECK(e.code() == "invalid_header");
  }
}

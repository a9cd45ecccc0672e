// SPDX-License-Identifier: Apache-2.0
// Findings, and JSON bodies read strictly.

#include <belay/http/validation.hpp>
#include <doctest/doctest.h>

#include <string>

namespace http = belay::http;
using namespace std::string_literals;

namespace {

http::request post(std::string body, const char* type = "application/json") {
  http::request r;
  r.method = http::method::post;
  if (type != nullptr) r.headers.add("Content-Type", type);
  r.body = std::move(body);
  return r;
}

// The code of the problem that reading `body` ends in; empty when it is read.
std::string code_of(const std::string& body, const char* type = "application/json") {
  http::validation check;
  try {
    http::json_reader reader(post(body, type), check);
    check.finish();
  } catch (const http::problem_error& e) {
    return e.problem().code;
  }
  return {};
}

std::string finding(const std::string& value, http::integer_rule rule = {}) {
  http::validation check;
  http::json_reader("{\"n\":" + value + "}", check).required_integer("n", rule);
  return check.errors().empty() ? "" : check.errors().front().detail;
}

}  // namespace

TEST_CASE("json reader: valid members are read, others ignored") {
  http::validation check;
  http::json_reader body(post(R"( {"email":"a@b.c","n":-5,"flag":true,"opt":null,"extra":[1,{"x":2}]} )"),
                         check);
  CHECK(body.required_string("email") == "a@b.c");
  CHECK(body.required_integer("n") == -5);
  CHECK(body.required_boolean("flag"));
  CHECK_FALSE(body.optional_string("opt"));
  CHECK_FALSE(body.optional_integer("absent"));
  CHECK(body.optional_boolean("flag") == true);
  CHECK_NOTHROW(check.finish());
}

TEST_CASE("json reader: every failing member is reported at once, by pointer [row 424]") {
  http::validation check;
  const http::request r = post(R"({"email":5,"name":"","amount":1.5,"~a/b":"x","list":[]})");
  (void)check.integer("/path/id", "abc");
  http::json_reader body(r, check);
  (void)body.required_string("email");
  (void)body.required_string("name", {.min_length = 1});
  (void)body.required_integer("amount");
  (void)body.required_integer("~a/b");
  (void)body.required_string("missing");
  (void)body.optional_integer("list");
  try {
    check.finish();
    FAIL("accepted");
  } catch (const http::problem_error& e) {
    CHECK(e.problem().status == http::status::unprocessable_content);
    CHECK(e.problem().code == "validation_failed");
    const std::vector<http::field_error> expected = {
        {"/path/id", "must be an integer"}, {"/email", "must be a string"},    {"/name", "must not be empty"},
        {"/amount", "must be an integer"},  {"/~0a~1b", "must be an integer"}, {"/missing", "is required"},
        {"/list", "must be an integer"}};
    CHECK(e.problem().errors == expected);
  }
}

TEST_CASE("json reader: integers are strict 64-bit integers") {
  CHECK(finding("9223372036854775807") == "");
  CHECK(finding("-9223372036854775808") == "");
  CHECK(finding("0") == "");
  for (const char* value : {"9223372036854775808", "18446744073709551615", "18446744073709551616",
                            "-9223372036854775809", "100000000000000000000000000000000000000000"}) {
    CAPTURE(value);
    CHECK(finding(value) == "must fit 64 bits");
    CHECK(finding(value, {.min = 1, .max = 9}) == "must be from 1 to 9");
  }
  for (const char* value : {"1.0", "1.5", "1e2", "1E0", "-0.0", "1e999", "\"1\"", "true", "null", "[]", "{}",
                            "9223372036854775808.0"}) {
    CAPTURE(value);
    CHECK(finding(value) == "must be an integer");
  }
  CHECK(finding("0", {.min = 1}) == "must be from 1 to 9223372036854775807");
  CHECK(finding("10", {.max = 9}) == "must be from -9223372036854775808 to 9");
}

TEST_CASE("json reader: string rules count code points, and find blanks and control characters") {
  const auto detail = [](const std::string& value, http::string_rule rule) {
    http::validation check;
    http::json_reader("{\"s\":\"" + value + "\"}", check).required_string("s", rule);
    return check.errors().empty() ? "" : check.errors().front().detail;
  };
  CHECK(detail("\xc3\xa9\xe2\x82\xac", {.min_length = 2, .max_length = 2}) == "");
  CHECK(detail("abc", {.max_length = 2}) == "must have at most 2 characters");
  CHECK(detail("a", {.min_length = 2}) == "must have at least 2 characters");
  CHECK(detail(" \\t ", {.blank = http::string_rule::blank::refused}) == "must not be blank");
  for (const char* control : {"a\\u0000", "\\r", "\\n", "\\u001f", "\x7f"}) {
    CAPTURE(control);
    CHECK(detail(control, {.control = http::string_rule::control::refused}) ==
          "must not hold control characters");
    CHECK(detail(control, {}) == "");
  }
}

TEST_CASE("json reader: nested objects and arrays of objects report full pointers") {
  http::validation check;
  http::json_reader body(R"({"a":{"b":1},"items":[{"n":1},{"n":"x"},5],"no":3})"s, check);
  auto a = body.required_object("a");
  (void)a.required_string("b");
  (void)a.required_string("c");
  for (auto& item : body.required_objects("items")) (void)item.required_integer("n");
  auto no = body.required_object("no");
  (void)no.required_string("silent");
  CHECK(body.required_objects("a").empty());
  CHECK(body.required_objects("items", {.max_size = 2}).empty());
  std::vector<std::string> pointers;
  for (const auto& error : check.errors()) pointers.push_back(error.pointer);
  CHECK(pointers ==
        std::vector<std::string>{"/a/b", "/a/c", "/items/2", "/items/1/n", "/no", "/a", "/items"});
}

TEST_CASE("json reader: a body that is no object is one finding at the root") {
  for (const char* text : {"[]", "1", "\"x\"", "null", "true"}) {
    http::validation check;
    http::json_reader body(std::string_view(text), check);
    (void)body.required_string("a");
    (void)body.required_integer("b");
    CHECK(check.errors() == std::vector<http::field_error>{{"", "must be an object"}});
  }
}

TEST_CASE("json reader: what is not JSON is malformed") {
  const std::string deep32 = std::string(31, '[') + "{}" + std::string(31, ']');
  for (const std::string& body : {""s,
                                  " "s,
                                  "{"s,
                                  "}"s,
                                  "{}x"s,
                                  "{} {}"s,
                                  "{,}"s,
                                  "{\"a\":1,}"s,
                                  "[1,]"s,
                                  "{'a':1}"s,
                                  "{a:1}"s,
                                  "{\"a\"}"s,
                                  "nul"s,
                                  "NaN"s,
                                  "Infinity"s,
                                  "01"s,
                                  "+1"s,
                                  "1."s,
                                  ".5"s,
                                  "0x10"s,
                                  "// c\n{}"s,
                                  "/* c */{}"s,
                                  "\xef\xbb\xbf{}"s,
                                  "\xff\xfe{\0}\0"s,
                                  "{\"a\":\"\xff\"}"s,
                                  "{\"a\":\"\xc3\"}"s,
                                  "{\"a\":\"\xc0\x80\"}"s,
                                  "{\"a\":\"\xed\xa0\x80\"}"s,
                                  "{\"\xff\":1}"s,
                                  "{\"a\":\"\n\"}"s,
                                  "{\"a\":\"\t\"}"s,
                                  "{\"a\":\"\0\"}"s,
                                  "{}\0"s,
                                  "\0{}"s,
                                  "{\"a\":\"\\x\"}"s,
                                  "{\"a\":\"\\ud800\"}"s,
                                  "{\"a\":\"\\u12\"}"s,
                                  "{\"a\":1,\"a\":1}"s,
                                  "{\"a\":1,\"b\":{\"c\":1,\"c\":2}}"s,
                                  "{\"a\":1,\"\\u0061\":2}"s,
                                  "[" + deep32 + "]",
                                  "{\"a\":" + deep32 + "}",
                                  std::string(100000, '[')}) {
    CAPTURE(body.substr(0, 60));
    CHECK(code_of(body) == "malformed_json");
  }
  CHECK(code_of(deep32) == "validation_failed");  // an array, but JSON
  CHECK(code_of("{\"a\":1,\"b\":{\"a\":1},\"c\":[{\"a\":1},{\"a\":1}]}") == "");
  CHECK(code_of("\t\r\n {} \n") == "");
}

TEST_CASE("json reader: every cut of a valid text is malformed") {
  const std::string text = R"({"a":[1,-2.5e3,true,null,"\u00e9\ud83d\ude00\n"],"b":{"c":""}})";
  for (std::size_t n = 0; n != text.size(); ++n) CHECK(code_of(text.substr(0, n)) == "malformed_json");
  CHECK(code_of(text) == "");
}

TEST_CASE("json reader: only application/json will do, in any case and with parameters") {
  CHECK(code_of("{}", "application/json") == "");
  CHECK(code_of("{}", "Application/JSON;charset=UTF-8") == "");
  for (const char* type : {"text/plain", "application/jsonx", "application/problem+json",
                           "application/x-www-form-urlencoded", "json", ""}) {
    CHECK(code_of("{}", type) == "unsupported_media_type");
  }
  CHECK(code_of("{}", nullptr) == "unsupported_media_type");
  CHECK(code_of("not json", "text/plain") == "unsupported_media_type");
}

TEST_CASE("validation: integers in paths and queries are digits, nothing else") {
  http::validation check;
  CHECK(check.integer("/path/id", "42", {.min = 1}) == 42);
  CHECK(check.optional_integer("/query/limit", "-1") == -1);
  CHECK_FALSE(check.optional_integer("/query/limit", std::nullopt));
  CHECK_FALSE(check.failed());
  for (const char* bad : {"", " 1", "1 ", "+1", "1.5", "1.0", "x", "0x1", "1e3", "--1", "-"}) {
    http::validation one;
    (void)one.integer("/path/id", bad);
    CAPTURE(bad);
    CHECK(one.errors() == std::vector<http::field_error>{{"/path/id", "must be an integer"}});
  }
  (void)check.integer("/path/id", "9223372036854775808", {.min = 1});
  (void)check.integer("/query/x", std::nullopt);
  (void)check.optional_integer("/query/limit", "201", {.min = 1, .max = 200});
  CHECK(check.errors() ==
        std::vector<http::field_error>{{"/path/id", "must be from 1 to 9223372036854775807"},
                                       {"/query/x", "is required"},
                                       {"/query/limit", "must be from 1 to 200"}});
  CHECK(check.failed_at("/query/x"));
  CHECK_FALSE(check.failed_at("/query"));
}

TEST_CASE("validation: booleans in queries are true or false") {
  http::validation check;
  CHECK(check.optional_boolean("/query/partial", "true") == true);
  CHECK(check.optional_boolean("/query/partial", "false") == false);
  CHECK_FALSE(check.optional_boolean("/query/partial", std::nullopt));
  CHECK_NOTHROW(check.finish());
  for (const char* bad : {"", "True", "1", "yes"}) (void)check.optional_boolean("/query/partial", bad);
  CHECK(check.errors().size() == 4);
}

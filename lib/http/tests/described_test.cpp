// SPDX-License-Identifier: Apache-2.0
// Structs as JSON and back: every kind of member, every finding, what cannot be written.

#include <belay/http/described.hpp>
#include <doctest/doctest.h>

#include <cmath>

namespace http = belay::http;

namespace shop {

enum class colour : unsigned char { red, blue };
void describe(http::enum_names<colour>& e) {
  e.add(colour::red, "red");
  e.add(colour::blue, "blue");
}

struct item {
  std::string name;
  std::int32_t count = 0;
  friend bool operator==(const item&, const item&) = default;
};
void describe(http::fields<item>& f) {
  f.member<&item::name>({.min_length = 1, .max_length = 10});
  f.member<&item::count>({.min = 1, .max = 99});
}

bool has_at(std::string_view text) { return text.find('@') != std::string_view::npos; }

struct order {
  std::string email;
  std::int64_t big = 0;
  std::uint64_t huge = 0;
  std::int8_t small = 0;
  double price = 0;
  bool urgent = false;
  colour paint = colour::red;
  std::optional<std::string> note;
  std::vector<item> items;
  std::map<std::string, std::int64_t> tags;
  std::chrono::sys_time<std::chrono::milliseconds> at;
  std::string role = "member";
  friend bool operator==(const order&, const order&) = default;
};
void describe(http::fields<order>& f) {
  f.member<&order::email>({.accept = has_at, .expected = "must be an email address", .format = "email"});
  f.member<&order::big>();
  f.member<&order::huge>();
  f.member<&order::small>({.name = "little"});
  f.member<&order::price>({.min = 0});
  f.member<&order::urgent>();
  f.member<&order::paint>();
  f.member<&order::note>({.max_length = 3});
  f.member<&order::items>({.min_length = 1});
  f.member<&order::tags>();
  f.member<&order::at>();
  f.with_default<&order::role>();
}

struct span {
  int begin = 0;
  int end = 0;
};
bool in_order(const span& s) { return s.begin < s.end; }
void describe(http::fields<span>& f) {
  f.member<&span::begin>();
  f.member<&span::end>();
  f.check<in_order>("end", "must be after the begin");
}

struct tree {
  std::string name;
  std::vector<tree> children;
};
void describe(http::fields<tree>& f) {
  f.member<&tree::name>();
  f.member<&tree::children>();
}

}  // namespace shop

namespace {

using shop::order;

constexpr std::string_view good =
    R"({"email":"a@b","big":9223372036854775807,"huge":18446744073709551615,"little":-128,"price":1.5,"urgent":true,)"
    R"("paint":"blue","note":"abc","items":[{"name":"nut","count":3}],"tags":{"x":-1},"at":"2026-03-01T12:30:00.25Z","role":"admin"})";

std::vector<http::field_error> findings(auto read) {
  try {
    read();
  } catch (const http::problem_error& refused) {
    CHECK(refused.problem().status == http::status::unprocessable_content);
    return refused.problem().errors;
  }
  return {};
}

template <class T>
std::string refusal(const T& value) {
  try {
    return http::to_json(value);
  } catch (const http::unserialisable_error& refused) {
    return refused.what();
  }
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("described: a struct comes back as it was") {
  const order read = http::from_json<order>(good);
  CHECK(read.big == std::numeric_limits<std::int64_t>::max());
  CHECK(read.huge == std::numeric_limits<std::uint64_t>::max());
  CHECK(read.small == -128);
  CHECK(read.price == 1.5);
  CHECK(read.paint == shop::colour::blue);
  CHECK(read.note == "abc");
  CHECK(read.items == std::vector<shop::item>{{"nut", 3}});
  CHECK(read.tags.at("x") == -1);
  CHECK(http::to_json(read) == good);
}

TEST_CASE("described: absent optionals and defaults, unknown members") {
  const order read = http::from_json<order>(
      R"({"email":"a@b","big":0,"huge":0,"little":0,"price":2,"urgent":false,"paint":"red","note":null,)"
      R"("items":[{"name":"n","count":1}],"tags":{},"at":"1999-12-31T23:59:59-01:30","who":"?"})");
  CHECK_FALSE(read.note);
  CHECK(read.role == "member");
  CHECK(contains(http::to_json(read), R"("price":2,)"));
  CHECK(contains(http::to_json(read), R"("at":"2000-01-01T01:29:59Z")"));
}

TEST_CASE("described: everything that is wrong is found at once, each at its place [row 424]") {
  const auto found = findings([] {
    return http::from_json<order>(
        R"({"email":"ab","big":9223372036854775808,"huge":-1,"little":128,"price":-1,"urgent":1,"paint":"pink","note":"abcd",)"
        R"("items":[{"name":"","count":1},{"count":100},7],"tags":{"a/b~":"x"},"at":"2026-02-30T00:00:00Z","role":3})");
  });
  const std::vector<http::field_error> expected = {
      {"/email", "must be an email address"},
      {"/big", "must fit 64 bits"},
      {"/huge", "must fit 64 bits"},
      {"/little", "must be from -128 to 127"},
      {"/price", "must be at least 0"},
      {"/urgent", "must be true or false"},
      {"/paint", "must be one of: red, blue"},
      {"/note", "must have at most 3 characters"},
      {"/items/0/name", "must not be empty"},
      {"/items/1/name", "is required"},
      {"/items/1/count", "must be from 1 to 99"},
      {"/items/2", "must be an object"},
      {"/tags/a~1b~0", "must be an integer"},
      {"/at", "must be a time with its offset, like 2026-03-01T12:30:00Z"},
      {"/role", "must be a string"},
  };
  CHECK(found.size() == expected.size());
  for (std::size_t i = 0; i != std::min(found.size(), expected.size()); ++i) {
    CHECK(found[i].pointer == expected[i].pointer);
    CHECK(found[i].detail == expected[i].detail);
  }
}

TEST_CASE("described: integers are neither rounded nor converted") {
  for (const char* text : {"1.0", "1e2", "\"1\"", "true", "null", "100000000000000000000"}) {
    CAPTURE(text);
    CHECK(findings([&] { return http::from_json<std::int64_t>(text); }).size() == 1);
  }
  CHECK(findings([] { return http::from_json<double>("100000000000000000000"); }).size() == 1);
  CHECK(http::from_json<double>("-3") == -3.0);
}

TEST_CASE("described: no more than a hundred findings, however much is wrong") {
  std::string text = "[";
  for (int i = 0; i != 1000; ++i) text += "\"x\",";
  text.back() = ']';
  CHECK(findings([&] { return http::from_json<std::vector<int>>(text); }).size() == 100);
}

TEST_CASE("described: members together, only when each is valid") {
  CHECK(http::from_json<shop::span>(R"({"begin":1,"end":2})").end == 2);
  CHECK(findings([] { return http::from_json<shop::span>(R"({"begin":2,"end":2})"); }) ==
        std::vector<http::field_error>{{"/end", "must be after the begin"}});
  CHECK(findings([] { return http::from_json<shop::span>(R"({"begin":2})"); }) ==
        std::vector<http::field_error>{{"/end", "is required"}});
}

TEST_CASE("described: times") {
  using at = std::chrono::sys_seconds;
  CHECK(http::to_json(http::from_json<at>("\"1970-01-01T00:00:00Z\"")) == "\"1970-01-01T00:00:00Z\"");
  for (const char* text :
       {"\"\"", "\"2026-03-01\"", "\"2026-03-01T12:30:00\"", "\"2026-03-01T24:00:00Z\"",
        "\"2026-03-01T12:30:60Z\"", "\"2026-03-01T12:30:00.Z\"", "\"2026-13-01T12:30:00Z\"",
        "\"2026-03-01T12:30:00.1234567890Z\"", "\"2026-03-01T12:30:00+24:00\"", "7",
        "\"2026-03-01T12:30:00Z \"", "\"1500-01-01T00:00:00Z\"", "\"9999-01-01T00:00:00Z\""}) {
    CAPTURE(text);
    CHECK(findings([&] { return http::from_json<at>(text); }).size() == 1);
  }
}

TEST_CASE(
    "described: what cannot be written is an error that names the place, never a wrong answer [row 424]") {
  order one = http::from_json<order>(good);
  one.price = std::nan("");
  CHECK(contains(refusal(one), "/price is not a finite number"));
  one = http::from_json<order>(good);
  one.items.push_back({"\xff", 1});
  CHECK(contains(refusal(one), "/items/1/name is not valid UTF-8"));
  one.items.back() = {"nut", 100};
  CHECK(contains(refusal(one), "/items/1/count must be from 1 to 99"));
  one.items.pop_back();
  one.paint = static_cast<shop::colour>(7);
  CHECK(contains(refusal(one), "/paint is the number 7, which has no name"));
  one.paint = shop::colour::red;
  one.items.clear();
  CHECK(contains(refusal(one), "/items must not be empty"));
  CHECK(contains(refusal(shop::span{2, 1}), "end must be after the begin"));
  CHECK(contains(refusal(std::map<std::string, int>{{"\xff", 1}}), "not valid UTF-8"));
  CHECK(contains(refusal(std::vector<double>{1, INFINITY}), "/1 is not a finite number"));
}

TEST_CASE("described: schemas, by the name of the type, also of one that holds itself") {
  http::schemas all;
  CHECK(http::codec<shop::tree>::schema(all, {}) == R"({"$ref":"#/components/schemas/tree"})");
  CHECK(
      all.text() ==
      R"("tree":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":)"
      R"({"$ref":"#/components/schemas/tree"}}},"required":["name","children"]})");
  http::schemas more;
  CHECK(http::codec<order>::schema(more, {}) == R"({"$ref":"#/components/schemas/order"})");
  const std::string text = more.text();
  CHECK(contains(text, R"("email":{"type":"string","format":"email"})"));
  CHECK(contains(text, R"("big":{"type":"integer","format":"int64"})"));
  CHECK(contains(text, R"("little":{"type":"integer","minimum":-128,"maximum":127})"));
  CHECK(contains(text, R"("paint":{"$ref":"#/components/schemas/colour"})"));
  CHECK(contains(text, R"("colour":{"type":"string","enum":["red","blue"]})"));
  CHECK(contains(text, R"("note":{"anyOf":[{"type":"string","maxLength":3},{"type":"null"}]})"));
  CHECK(contains(text, R"("role":{"type":"string","default":"member"})"));
}

TEST_CASE("described: what is told of a value is short, whatever names the client gave") {
  using table = std::map<std::string, std::vector<int>>;
  std::string body = "{\"" + std::string(900'000, 'k') + "\":[\"\"";
  for (int i = 0; i != 200; ++i) body += ",\"\"";
  body += "]}";
  const auto found = findings([&] { return http::from_json<table>(body); });
  REQUIRE(found.size() == 100);
  for (const http::field_error& one : found) {
    REQUIRE(one.pointer.size() < 300);
    REQUIRE(one.pointer.starts_with("/kkk"));
    REQUIRE(one.detail == "must be an integer");
  }
}

TEST_CASE("described: once a hundred findings are noted, the rest of an array or a map is not read") {
  http::validation findings_so_far;
  http::value_reading at(findings_so_far);
  std::string list = "[0";
  std::string object = R"({"0":0)";
  for (int i = 1; i != 1000; ++i) {
    list += ",0";
    object += ",\"" + std::to_string(i) + "\":0";
  }
  const http::json_document elements(list + "]");
  std::vector<shop::item> items;
  http::codec<std::vector<shop::item>>::read(items, elements.root(), at, {});
  CHECK(items.size() == 100);
  CHECK(at.failures() == 100);
  const http::json_document members(object + "}");
  std::map<std::string, shop::item> named;
  http::codec<std::map<std::string, shop::item>>::read(named, members.root(), at, {});
  CHECK(named.empty());
  CHECK(findings_so_far.errors().size() == 100);
}

TEST_CASE("described: a number that its type cannot hold is refused, not cut") {
  for (const std::string_view text : {"1e300", "-1e300", "3.5e38", "1e400"}) {
    CAPTURE(text);
    const auto found = findings([&] { return http::from_json<float>(text); });
    REQUIRE(found.size() == 1);
    CHECK(found[0].detail == "is too large");
  }
  for (const std::string_view text : {"1e400", "-1e400", "1.5e999"}) {
    CAPTURE(text);
    const auto found = findings([&] { return http::from_json<double>(text); });
    REQUIRE(found.size() == 1);
    CHECK(found[0].detail == "is too large");
    const auto integer = findings([&] { return http::from_json<int>(text); });
    REQUIRE(integer.size() == 1);
    CHECK(integer[0].detail == "must be an integer");
  }
  CHECK(http::from_json<float>("3.4028234663852886e38") == std::numeric_limits<float>::max());
  CHECK(http::from_json<double>("-1.7976931348623157e308") == std::numeric_limits<double>::lowest());
  CHECK(findings([] { return http::from_json<int>("100000000000000000000"); })[0].detail !=
        "must be an integer");
}

// SPDX-License-Identifier: Apache-2.0
// Entity tags: RFC 9110's own examples, lists, and the answers that follow from them.

#include <belay/http/entity_tag.hpp>
#include <doctest/doctest.h>

namespace http = belay::http;
using http::entity_tag;
using http::precondition;

namespace {

http::request with_field(std::string_view name, std::string_view value,
                         http::method verb = http::method::get) {
  http::request out;
  out.method = verb;
  if (!name.empty()) out.headers.add(name, value);
  return out;
}

}  // namespace

TEST_CASE("entity tag: written and read") {
  for (const entity_tag& tag :
       {entity_tag{"xyzzy"}, entity_tag{"xyzzy", true}, entity_tag{""}, entity_tag{"a,b'\xc3\xa9"}}) {
    CHECK(http::parse_entity_tag(http::to_string(tag)) == tag);
  }
  CHECK(http::to_string({"v1", true}) == "W/\"v1\"");
  for (const char* bad : {"", "x", "\"x", "x\"", "w/\"x\"", "W/", "W/x", "\"a b\"", "\"a\"b", "\"a\", \"b\"",
                          "*", "\"\x7f\""}) {
    CAPTURE(bad);
    CHECK_FALSE(http::parse_entity_tag(bad));
  }
  CHECK_THROWS_AS(static_cast<void>(http::to_string({"a\"b"})), http::message_error);
  CHECK_THROWS_AS(static_cast<void>(http::to_string({"a\r\nb"})), http::message_error);
  CHECK(http::entity_tag_of("a") == http::entity_tag_of("a"));
  CHECK(http::entity_tag_of("a") != http::entity_tag_of("b"));
  CHECK(http::to_string(http::entity_tag_of("")) == "\"cbf29ce484222325\"");
}

TEST_CASE("entity tag: the table of RFC 9110 section 8.8.3.2") {
  const entity_tag w1{"1", true};
  const entity_tag w2{"2", true};
  const entity_tag s1{"1"};
  CHECK_FALSE(http::match_strongly(w1, w1));
  CHECK(http::match_weakly(w1, w1));
  CHECK_FALSE(http::match_strongly(w1, w2));
  CHECK_FALSE(http::match_weakly(w1, w2));
  CHECK_FALSE(http::match_strongly(w1, s1));
  CHECK(http::match_weakly(w1, s1));
  CHECK(http::match_strongly(s1, s1));
  CHECK(http::match_weakly(s1, s1));
}

TEST_CASE("entity tag: If-Match lets only those change what they have seen") {
  const auto put = [](std::string_view value, const std::optional<entity_tag>& current) {
    return http::check_preconditions(with_field("If-Match", value, http::method::put), current);
  };
  const entity_tag now{"v2"};
  CHECK(put("\"v2\"", now) == precondition::holds);
  CHECK(put("\"v1\", \"v2\"", now) == precondition::holds);
  CHECK(put("\"v1\" ,, \"v2\",", now) == precondition::holds);
  CHECK(put("*", now) == precondition::holds);
  CHECK(put("\"v1\"", now) == precondition::failed);
  CHECK(put("W/\"v2\"", now) == precondition::failed);  // strong comparison
  CHECK(put("\"v2\"", entity_tag{"v2", true}) == precondition::failed);
  CHECK(put("*", std::nullopt) == precondition::failed);
  CHECK(put("\"v2\"", std::nullopt) == precondition::failed);
  for (const char* malformed : {"v2", "\"v2", "\"v2\" \"v3\"", "", "\"v2\", v3"})
    CHECK(put(malformed, now) == precondition::failed);
  CHECK(http::check_preconditions(with_field("", ""), now) == precondition::holds);
}

TEST_CASE("entity tag: If-None-Match saves a body, or creates only what is not there") {
  const entity_tag now{"v,2"};
  const auto ask = [&](std::string_view value, http::method verb, const std::optional<entity_tag>& current) {
    return http::check_preconditions(with_field("If-None-Match", value, verb), current);
  };
  CHECK(ask("\"v,2\"", http::method::get, now) == precondition::not_modified);
  CHECK(ask("W/\"v,2\"", http::method::head, now) == precondition::not_modified);
  CHECK(ask("\"v1\", W/\"v,2\"", http::method::get, now) == precondition::not_modified);
  CHECK(ask("\"v1\"", http::method::get, now) == precondition::holds);
  CHECK(ask("nonsense", http::method::get, now) == precondition::holds);
  CHECK(ask("*", http::method::put, now) == precondition::failed);
  CHECK(ask("*", http::method::put, std::nullopt) == precondition::holds);
  http::request both = with_field("If-Match", "\"v1\"");
  both.headers.add("If-None-Match", "\"v,2\"");
  CHECK(http::check_preconditions(both, now) == precondition::failed);  // If-Match comes first
}

TEST_CASE("entity tag: the 304 has the fields of the 200 that belong there, and no body [row 422]") {
  const entity_tag tag{"v1"};
  http::response full = http::response::json(http::status::ok, "{}");
  full.headers.add("Cache-Control", "max-age=5");
  full.headers.add("Vary", "Accept");
  const http::response plain = http::with_entity_tag(with_field("", ""), full, tag);
  CHECK(plain.status == http::status::ok);
  CHECK(plain.headers.find("ETag") == "\"v1\"");
  CHECK(plain.body == "{}");
  const http::response saved = http::with_entity_tag(with_field("If-None-Match", "\"v1\""), full, tag);
  CHECK(saved.status == http::status::not_modified);
  CHECK(saved.headers.find("ETag") == "\"v1\"");
  CHECK(saved.headers.find("Cache-Control") == "max-age=5");
  CHECK(saved.headers.find("Vary") == "Accept");
  CHECK_FALSE(saved.headers.contains("Content-Type"));
  CHECK(saved.body.empty());
  CHECK(http::serialise(saved, {}).find("Content-Length") == std::string::npos);
  const auto post = with_field("If-None-Match", "\"v1\"", http::method::post);
  CHECK(http::with_entity_tag(post, full, tag).status == http::status::ok);
  http::response missing = http::response::json(http::status::not_found, "{}");
  CHECK(http::with_entity_tag(with_field("If-None-Match", "\"v1\""), missing, tag).status ==
        http::status::not_found);
}

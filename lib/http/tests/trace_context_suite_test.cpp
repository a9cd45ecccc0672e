// SPDX-License-Identifier: Apache-2.0
// The cases of the W3C's own suite for Trace Context (github.com/w3c/trace-context, test/test.py), by their names: from the bytes of a request
// to the fields of the request that follows from it.

#include <belay/http/request_parser.hpp>
#include <belay/http/trace_context.hpp>
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace http = belay::http;
using namespace std::string_literals;

namespace {

const std::string trace = "12345678901234567890123456789012";
const std::string parent = "1234567890123456";

using field = std::pair<std::string, std::string>;
using field_list = std::vector<field>;

http::random_source counting() {
  return [n = std::uint64_t{0}]() mutable { return 0xaabb000000000000 + ++n; };
}

http::headers received(const field_list& fields) {
  std::string bytes = "POST /test HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n";
  for (const auto& [name, value] : fields) bytes += name + ":" + value + "\r\n";
  http::request_parser parser;
  parser.feed(bytes + "\r\n");
  REQUIRE(parser.current() == http::request_parser::state::head_complete);
  return parser.head().headers;
}

// What a service sends on, to each of those that it calls.
std::vector<http::headers> sent_on(const field_list& fields, int calls = 1) {
  const http::random_source random = counting();
  const http::trace_context own = http::continue_trace(received(fields), random);
  std::vector<http::headers> all(static_cast<std::size_t>(calls));
  for (http::headers& one : all) http::inject(http::make_child(own, random), one);
  return all;
}

std::string traceparent_of(const http::headers& from) {
  REQUIRE(from.count("traceparent") == 1);
  std::string text(from.find("traceparent").value());
  REQUIRE(http::trace_parent::parse(text));
  CHECK(text.substr(36, 16) != parent);
  return text;
}
std::string trace_of(const http::headers& from) { return traceparent_of(from).substr(3, 32); }
std::string state_of(const http::headers& from) { return from.combined("tracestate"); }

std::string with(std::string version, std::string id, std::string span, std::string flags) {
  return version + "-" + id + "-" + span + "-" + flags;
}
const std::string good = with("00", trace, parent, "01");
const field not_sampled{"traceparent", with("00", trace, parent, "00")};

struct parent_case {
  const char* name;
  field_list fields;
  bool continued;
};

const std::string members_to_30 =
    "bar01=01,bar02=02,bar03=03,bar04=04,bar05=05,bar06=06,bar07=07,bar08=08,bar09=09,bar10=10,"
    "bar11=11,bar12=12,bar13=13,bar14=14,bar15=15,bar16=16,bar17=17,bar18=18,bar19=19,bar20=20,"
    "bar21=21,bar22=22,bar23=23,bar24=24,bar25=25,bar26=26,bar27=27,bar28=28,bar29=29,bar30=30";

struct state_case {
  const char* name;
  field_list fields;  // besides a valid traceparent
  std::string sent;   // "": it was discarded
};

}  // namespace

TEST_CASE("trace context suite: traceparent [rows 479, 482, 484]") {
  const std::vector<parent_case> all = {
      {"test_both_traceparent_and_tracestate_missing", {}, false},
      {"test_traceparent_included_tracestate_missing", {{"traceparent", good}}, true},
      {"test_traceparent_duplicated",
       {{"traceparent", with("00", "12345678901234567890123456789011", parent, "01")}, {"traceparent", good}},
       false},
      {"test_traceparent_header_name", {{"trace-parent", good}}, false},
      {"test_traceparent_header_name", {{"trace.parent", good}}, false},
      {"test_traceparent_header_name_valid_casing", {{"TraceParent", good}}, true},
      {"test_traceparent_header_name_valid_casing", {{"TrAcEpArEnT", good}}, true},
      {"test_traceparent_header_name_valid_casing", {{"TRACEPARENT", good}}, true},
      {"test_traceparent_version_0x00", {{"traceparent", good + "."}}, false},
      {"test_traceparent_version_0x00", {{"traceparent", good + "-what-the-future-will-be-like"}}, false},
      {"test_traceparent_version_0xcc", {{"traceparent", with("cc", trace, parent, "01")}}, true},
      {"test_traceparent_version_0xcc",
       {{"traceparent", with("cc", trace, parent, "01-what-the-future-will-be-like")}},
       true},
      {"test_traceparent_version_0xcc",
       {{"traceparent", with("cc", trace, parent, "01.what-the-future-will-be-like")}},
       false},
      {"test_traceparent_version_0xff", {{"traceparent", with("ff", trace, parent, "01")}}, false},
      {"test_traceparent_version_illegal_characters",
       {{"traceparent", with(".0", trace, parent, "01")}},
       false},
      {"test_traceparent_version_illegal_characters",
       {{"traceparent", with("0.", trace, parent, "01")}},
       false},
      {"test_traceparent_version_too_long", {{"traceparent", with("000", trace, parent, "01")}}, false},
      {"test_traceparent_version_too_long", {{"traceparent", with("0000", trace, parent, "01")}}, false},
      {"test_traceparent_version_too_short", {{"traceparent", with("0", trace, parent, "01")}}, false},
      {"test_traceparent_trace_id_all_zero",
       {{"traceparent", with("00", std::string(32, '0'), parent, "01")}},
       false},
      {"test_traceparent_trace_id_illegal_characters",
       {{"traceparent", with("00", ".2345678901234567890123456789012", parent, "01")}},
       false},
      {"test_traceparent_trace_id_illegal_characters",
       {{"traceparent", with("00", "1234567890123456789012345678901.", parent, "01")}},
       false},
      {"test_traceparent_trace_id_too_long", {{"traceparent", with("00", trace + "3", parent, "01")}}, false},
      {"test_traceparent_trace_id_too_short",
       {{"traceparent", with("00", trace.substr(0, 31), parent, "01")}},
       false},
      {"test_traceparent_parent_id_all_zero",
       {{"traceparent", with("00", trace, std::string(16, '0'), "01")}},
       false},
      {"test_traceparent_parent_id_illegal_characters",
       {{"traceparent", with("00", trace, ".234567890123456", "01")}},
       false},
      {"test_traceparent_parent_id_illegal_characters",
       {{"traceparent", with("00", trace, "123456789012345.", "01")}},
       false},
      {"test_traceparent_parent_id_too_long",
       {{"traceparent", with("00", trace, parent + "7", "01")}},
       false},
      {"test_traceparent_parent_id_too_short",
       {{"traceparent", with("00", trace, parent.substr(0, 15), "01")}},
       false},
      {"test_traceparent_trace_flags_illegal_characters",
       {{"traceparent", with("00", trace, parent, ".0")}},
       false},
      {"test_traceparent_trace_flags_illegal_characters",
       {{"traceparent", with("00", trace, parent, "0.")}},
       false},
      {"test_traceparent_trace_flags_too_long", {{"traceparent", with("00", trace, parent, "001")}}, false},
      {"test_traceparent_trace_flags_too_short", {{"traceparent", with("00", trace, parent, "1")}}, false},
      {"test_traceparent_ows_handling", {{"traceparent", " " + good}}, true},
      {"test_traceparent_ows_handling", {{"traceparent", "\t" + good}}, true},
      {"test_traceparent_ows_handling", {{"traceparent", good + " "}}, true},
      {"test_traceparent_ows_handling", {{"traceparent", good + "\t"}}, true},
      {"test_traceparent_ows_handling", {{"traceparent", "\t " + good + " \t"}}, true},
  };
  for (const parent_case& one : all) {
    CAPTURE(one.name);
    const http::headers sent = sent_on(one.fields).front();
    CHECK((trace_of(sent) == trace) == one.continued);
    CHECK(trace_of(sent) != "12345678901234567890123456789011");
  }
}

TEST_CASE("trace context suite: tracestate [row 485]") {
  std::string every_value;
  for (char c = 0x20; c != 0x7f; ++c) {
    if (c != ',' && c != '=') every_value += c;
  }
  const std::string every_key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/";
  const std::string z(256, 'z');
  const std::vector<state_case> all = {
      {"test_tracestate_included_traceparent_included", {{"tracestate", "foo=1,bar=2"}}, "foo=1,bar=2"},
      {"test_tracestate_header_name", {{"trace-state", "foo=1"}}, ""},
      {"test_tracestate_header_name", {{"trace.state", "foo=1"}}, ""},
      {"test_tracestate_header_name_valid_casing", {{"TraceState", "foo=1"}}, "foo=1"},
      {"test_tracestate_header_name_valid_casing", {{"TrAcEsTaTe", "foo=1"}}, "foo=1"},
      {"test_tracestate_header_name_valid_casing", {{"TRACESTATE", "foo=1"}}, "foo=1"},
      {"test_tracestate_empty_header", {{"tracestate", ""}}, ""},
      {"test_tracestate_empty_header", {{"tracestate", "foo=1"}, {"tracestate", ""}}, "foo=1"},
      {"test_tracestate_empty_header", {{"tracestate", ""}, {"tracestate", "foo=1"}}, "foo=1"},
      {"test_tracestate_multiple_headers_different_keys",
       {{"tracestate", "foo=1,bar=2"}, {"tracestate", "rojo=1,congo=2"}, {"tracestate", "baz=3"}},
       "foo=1,bar=2,rojo=1,congo=2,baz=3"},
      {"test_tracestate_all_allowed_characters",
       {{"tracestate", every_key + "=" + every_value}},
       every_key + "=" + every_value},
      {"test_tracestate_all_allowed_characters",
       {{"tracestate", every_key + "@a-z0-9_-*/=" + every_value}},
       every_key + "@a-z0-9_-*/=" + every_value},
      {"test_tracestate_ows_handling",
       {{"tracestate", "foo=1 \t , \t bar=2, \t baz=3"}},
       "foo=1,bar=2,baz=3"},
      {"test_tracestate_ows_handling",
       {{"tracestate", "foo=1\t \t,\t \tbar=2,\t \tbaz=3"}},
       "foo=1,bar=2,baz=3"},
      {"test_tracestate_ows_handling", {{"tracestate", " foo=1"}}, "foo=1"},
      {"test_tracestate_ows_handling", {{"tracestate", "\tfoo=1"}}, "foo=1"},
      {"test_tracestate_ows_handling", {{"tracestate", "foo=1 "}}, "foo=1"},
      {"test_tracestate_ows_handling", {{"tracestate", "foo=1\t"}}, "foo=1"},
      {"test_tracestate_ows_handling", {{"tracestate", "\t foo=1 \t"}}, "foo=1"},
      {"test_tracestate_key_illegal_characters", {{"tracestate", "foo =1"}}, ""},
      {"test_tracestate_key_illegal_characters", {{"tracestate", "FOO=1"}}, ""},
      {"test_tracestate_key_illegal_characters", {{"tracestate", "foo.bar=1"}}, ""},
      {"test_tracestate_key_illegal_vendor_format", {{"tracestate", "foo@=1,bar=2"}}, ""},
      {"test_tracestate_key_illegal_vendor_format", {{"tracestate", "@foo=1,bar=2"}}, ""},
      {"test_tracestate_key_illegal_vendor_format", {{"tracestate", "foo@@bar=1,bar=2"}}, ""},
      {"test_tracestate_key_illegal_vendor_format", {{"tracestate", "foo@bar@baz=1,bar=2"}}, ""},
      {"test_tracestate_member_count_limit",
       {{"tracestate", members_to_30}, {"tracestate", "bar31=31,bar32=32"}},
       members_to_30 + ",bar31=31,bar32=32"},
      {"test_tracestate_member_count_limit",
       {{"tracestate", members_to_30}, {"tracestate", "bar31=31,bar32=32,bar33=33"}},
       ""},
      {"test_tracestate_key_length_limit",
       {{"tracestate", "foo=1"}, {"tracestate", z + "=1"}},
       "foo=1," + z + "=1"},
      {"test_tracestate_key_length_limit", {{"tracestate", "foo=1"}, {"tracestate", z + "z=1"}}, ""},
      {"test_tracestate_key_length_limit",
       {{"tracestate", "foo=1"}, {"tracestate", std::string(241, 't') + "@" + std::string(14, 'v') + "=1"}},
       "foo=1," + std::string(241, 't') + "@" + std::string(14, 'v') + "=1"},
      {"test_tracestate_key_length_limit",
       {{"tracestate", "foo=1"}, {"tracestate", std::string(242, 't') + "@v=1"}},
       ""},
      {"test_tracestate_key_length_limit",
       {{"tracestate", "foo=1"}, {"tracestate", "t@" + std::string(15, 'v') + "=1"}},
       ""},
      {"test_tracestate_value_illegal_characters", {{"tracestate", "foo=bar=baz"}}, ""},
      {"test_tracestate_value_illegal_characters", {{"tracestate", "foo=,bar=3"}}, ""},
      // The suite's strict mode wants these discarded. Here they go on as they came: what others wrote is theirs.
      {"test_tracestate_duplicated_keys", {{"tracestate", "foo=1,foo=1"}}, "foo=1,foo=1"},
      {"test_tracestate_duplicated_keys", {{"tracestate", "foo=1,foo=2"}}, "foo=1,foo=2"},
      {"test_tracestate_duplicated_keys", {{"tracestate", "foo=1"}, {"tracestate", "foo=1"}}, "foo=1,foo=1"},
      {"test_tracestate_duplicated_keys", {{"tracestate", "foo=1"}, {"tracestate", "foo=2"}}, "foo=1,foo=2"},
  };
  for (const state_case& one : all) {
    CAPTURE(one.name);
    field_list fields = one.fields;
    fields.insert(fields.begin(), not_sampled);
    const http::headers sent = sent_on(fields).front();
    CHECK(trace_of(sent) == trace);
    CHECK(traceparent_of(sent).ends_with("-00"));
    CHECK(state_of(sent) == one.sent);
    CHECK(sent.count("tracestate") == (one.sent.empty() ? 0 : 1));
  }
  // test_tracestate_included_traceparent_missing
  for (const char* alone : {"foo=1", "foo=1,bar=2"})
    CHECK(state_of(sent_on({{"tracestate", alone}}).front()).empty());
}

TEST_CASE("trace context suite: several requests that follow from one [row 479]") {
  struct advanced {
    const char* name;
    field_list fields;
    bool continued;
  };
  const std::vector<advanced> all = {
      {"test_multiple_requests_with_valid_traceparent", {{"traceparent", good}}, true},
      {"test_multiple_requests_without_traceparent", {}, false},
      {"test_multiple_requests_with_illegal_traceparent",
       {{"traceparent", with("00", std::string(32, '0'), parent, "01")}},
       false},
  };
  for (const advanced& one : all) {
    CAPTURE(one.name);
    std::set<std::string> traces;
    std::set<std::string> spans;
    for (const http::headers& sent : sent_on(one.fields, 3)) {
      traces.insert(trace_of(sent));
      spans.insert(traceparent_of(sent).substr(36, 16));
    }
    CHECK(traces.size() == 1);
    CHECK((*traces.begin() == trace) == one.continued);
    CHECK(spans.size() == 3);
  }
}

// SPDX-License-Identifier: Apache-2.0
// W3C Trace Context, after the specification and its test suite.

#include <belay/http/trace_context.hpp>
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <thread>

namespace http = belay::http;
using namespace std::string_literals;

namespace {

const std::string good_trace = "12345678901234567890123456789012";
const std::string good = "00-" + good_trace + "-1234567890123456-01";

http::random_source counting() {
  return [n = std::uint64_t{0}]() mutable { return 0xaabb000000000000 + ++n; };
}

http::headers fields(std::initializer_list<std::pair<const char*, std::string>> list) {
  http::headers out;
  for (const auto& [name, value] : list) out.add(name, value);
  return out;
}

bool continues(const http::headers& from) {
  const http::trace_context context = http::continue_trace(from, counting());
  CHECK(context.trace.valid());
  CHECK(context.span.valid());
  CHECK(http::to_string(context.span) != "1234567890123456");
  return http::to_string(context.trace) == good_trace;
}

}  // namespace

TEST_CASE("trace context: a valid traceparent is continued with an own span id [row 479]") {
  const auto context = http::continue_trace(
      fields({{"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}), counting());
  CHECK(http::to_string(context.trace) == "4bf92f3577b34da6a3ce929d0e0e4736");
  REQUIRE(context.parent);
  CHECK(http::to_string(*context.parent) == "00f067aa0ba902b7");
  CHECK(http::to_string(context.span) == "aabb000000000001");
  CHECK(context.sampled);
  CHECK(context.to_traceparent() == "00-4bf92f3577b34da6a3ce929d0e0e4736-aabb000000000001-01");
}

TEST_CASE("trace context: only the lowest flag counts, unknown flags are not passed on [row 479]") {
  for (const auto& [flags, sampled] :
       {std::pair("00", false), {"01", true}, {"02", false}, {"03", true}, {"fe", false}, {"ff", true}}) {
    const auto parsed = http::trace_parent::parse("00-" + good_trace + "-1234567890123456-" + flags);
    REQUIRE(parsed);
    CHECK(parsed->sampled == sampled);
    CHECK(parsed->to_string().substr(53) == (sampled ? "01" : "00"));
  }
}

TEST_CASE("trace context: the header name is found in any case") {
  CHECK(continues(fields({{"TraceParent", good}})));
  CHECK(continues(fields({{"TRACEPARENT", good}})));
  CHECK_FALSE(continues(fields({{"trace-parent", good}})));
}

TEST_CASE("trace context: spaces and tabs around the value are tolerated [row 484]") {
  for (const auto& value : {" " + good, "\t" + good, good + " ", good + "\t", "\t " + good + " \t"}) {
    CHECK(http::trace_parent::parse(value));
    CHECK(continues(fields({{"traceparent", value}})));
  }
}

TEST_CASE("trace context: two traceparent fields start a new trace [row 484]") {
  CHECK_FALSE(continues(fields({{"traceparent", good}, {"traceparent", good}})));
}

TEST_CASE("trace context: a malformed traceparent starts a new trace") {
  const std::string id = "12345678901234567890123456789012", span = "1234567890123456";
  for (const std::string& bad : {""s,
                                 "garbage"s,
                                 good + ".",
                                 good + "-what-the-future-will-be-like",
                                 "ff-" + id + "-" + span + "-01",
                                 ".0-" + id + "-" + span + "-01",
                                 "0.-" + id + "-" + span + "-01",
                                 "000-" + id + "-" + span + "-01",
                                 "0000-" + id + "-" + span + "-01",
                                 "0-" + id + "-" + span + "-01",
                                 "00-" + std::string(32, '0') + "-" + span + "-01",
                                 "00-.2345678901234567890123456789012-" + span + "-01",
                                 "00-1234567890123456789012345678901.-" + span + "-01",
                                 "00-" + id + "3-" + span + "-01",
                                 "00-" + id.substr(1) + "-" + span + "-01",
                                 "00-" + id + "-0000000000000000-01",
                                 "00-" + id + "-.234567890123456-01",
                                 "00-" + id + "-123456789012345.-01",
                                 "00-" + id + "-" + span + "7-01",
                                 "00-" + id + "-" + span.substr(1) + "-01",
                                 "00-" + id + "-" + span + "-.0",
                                 "00-" + id + "-" + span + "-0.",
                                 "00-" + id + "-" + span + "-001",
                                 "00-" + id + "-" + span + "-1",
                                 "00-" + id + "-" + span + "-",
                                 "00-" + id + "-" + span,
                                 "00-ABCDEF78901234567890123456789012-" + span + "-01",
                                 "00-" + id + "-ABCDEF7890123456-01",
                                 "0A-" + id + "-" + span + "-01",
                                 "00_" + id + "_" + span + "_01",
                                 "00-" + id + "-" + span + "-01\0"s,
                                 "00-" + id + "-" + span + "-0A"}) {
    CAPTURE(bad);
    CHECK_FALSE(http::trace_parent::parse(bad));
    if (bad.find('\0') == std::string::npos) CHECK_FALSE(continues(fields({{"traceparent", bad}})));
  }
}

TEST_CASE(
    "trace context: a higher version is read as far as it is known, and answered as version 00 [row 482]") {
  const std::string body = "-12345678901234567890123456789012-1234567890123456-";
  for (const std::string& value : {"cc" + body + "01", "cc" + body + "01-what-the-future-will-be-like",
                                   "01" + body + "09", "fe" + body + "01-"}) {
    CAPTURE(value);
    const auto parsed = http::trace_parent::parse(value);
    REQUIRE(parsed);
    CHECK(parsed->to_string() == good);
  }
  for (const std::string& value : {"cc" + body + "01.what-the-future-will-be-like", "cc" + body + "0",
                                   "cc" + body, "cc" + body + "0x"}) {
    CAPTURE(value);
    CHECK_FALSE(http::trace_parent::parse(value));
  }
}

TEST_CASE("trace context: every cut of a valid value is refused, without reading beyond it [row 482]") {
  for (std::size_t n = 0; n != good.size(); ++n) {
    const std::string cut = good.substr(0, n);
    CHECK_FALSE(http::trace_parent::parse(cut));
    CHECK_FALSE(http::trace_parent::parse("01" + (n > 2 ? cut.substr(2) : ""s)));
  }
}

TEST_CASE("trace context: a new trace never has a zero id, whatever the source gives [row 495]") {
  const auto zero = http::start_trace([] { return std::uint64_t{0}; });
  CHECK(zero.trace.valid());
  CHECK(zero.span.valid());
  int calls = 0;
  const auto late = http::make_span_id([&] { return ++calls < 3 ? std::uint64_t{0} : std::uint64_t{7}; });
  CHECK(http::to_string(late) == "0000000000000007");
  const auto fresh = http::continue_trace({}, counting());
  CHECK_FALSE(fresh.parent);
  CHECK(fresh.to_traceparent() == "00-aabb000000000001aabb000000000002-aabb000000000003-01");
}

TEST_CASE("trace context: a child keeps the trace and has its parent's span") {
  const auto random = counting();
  const auto parent = http::start_trace(random);
  const auto child = http::make_child(parent, random);
  CHECK(child.trace == parent.trace);
  CHECK(child.parent == parent.span);
  CHECK(child.span != parent.span);
}

TEST_CASE("tracestate: without a valid traceparent it is not looked at") {
  CHECK(http::continue_trace(fields({{"tracestate", "foo=1"}}), counting()).state.empty());
  CHECK(http::continue_trace(fields({{"traceparent", "x"}, {"tracestate", "foo=1"}}), counting())
            .state.empty());
}

TEST_CASE("tracestate: several fields are one list, in order; empty members are skipped") {
  const auto context = http::continue_trace(fields({{"traceparent", good},
                                                    {"tracestate", "foo=1,bar=2"},
                                                    {"tracestate", ""},
                                                    {"TraceState", "rojo=1 \t , ,\tcongo=2"},
                                                    {"tracestate", "baz=3"}}),
                                            counting());
  CHECK(context.state.to_string() == "foo=1,bar=2,rojo=1,congo=2,baz=3");
  http::headers out;
  http::inject(context, out);
  CHECK(out.find("tracestate") == "foo=1,bar=2,rojo=1,congo=2,baz=3");
  CHECK(out.find("traceparent") == context.to_traceparent());
}

TEST_CASE("tracestate: malformed is discarded as a whole and leaves the traceparent in use") {
  for (const std::string& bad :
       {"foo"s, "foo="s, "=1"s, "foo =1"s, "FOO=1"s, "foo.bar=1"s, "@foo=1,bar=2"s, "foo=1=2"s,
        "foo=bar=baz"s, "foo=1,bar"s, "_foo=1"s, "foo=\x7f"s, "foo=\xc3\xa9"s, std::string(257, 'a') + "=1",
        "a=" + std::string(257, '1'), "foo=1\t2"s}) {
    CAPTURE(bad);
    CHECK_FALSE(http::trace_state::parse(bad));
    if (bad.find('\x7f') != std::string::npos) continue;
    const auto context =
        http::continue_trace(fields({{"traceparent", good}, {"tracestate", bad}}), counting());
    CHECK(http::to_string(context.trace) == good_trace);
    CHECK(context.state.empty());
  }
}

TEST_CASE("tracestate: all allowed characters and lengths come back unchanged") {
  std::string value;
  for (char c = 0x20; c < 0x7f; ++c) {
    if (c != ',' && c != '=') value += c;
  }
  const std::string key = "0abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z0-9_-*/";
  const auto parsed =
      http::trace_state::parse(key + "=" + value + "," + std::string(256, 'z') + "=" + std::string(256, '!'));
  REQUIRE(parsed);
  CHECK(parsed->members().front() == http::trace_state_member{key, value});
  CHECK(parsed->members().back().key.size() == 256);
}

TEST_CASE("tracestate: leading spaces belong to the value, trailing ones do not") {
  const auto parsed = http::trace_state::parse("a= 1 ,b=2");
  REQUIRE(parsed);
  CHECK(parsed->members().front().value == " 1");
}

TEST_CASE(
    "tracestate: 32 members are kept, 33 are discarded, also over several fields; equal keys are kept [row "
    "485]") {
  std::string half;
  for (int i = 0; i != 16; ++i) half += (half.empty() ? "k" : ",k") + std::to_string(i) + "=1";
  auto list = fields({{"traceparent", good}, {"tracestate", half}, {"tracestate", half}});
  CHECK(http::continue_trace(list, counting()).state.members().size() == 32);
  list.add("tracestate", "one=more");
  const auto context = http::continue_trace(list, counting());
  CHECK(context.state.empty());
  CHECK(http::to_string(context.trace) == good_trace);
}

TEST_CASE(
    "tracestate: an own entry goes to the left, in place of an older one, and the right-most of 33 goes [row "
    "485]") {
  std::string text;
  for (int i = 0; i != 32; ++i) text += (text.empty() ? "k" : ",k") + std::to_string(i) + "=1";
  auto state = http::trace_state::parse(text).value();
  state.put("belay", "x");
  CHECK(state.members().size() == 32);
  CHECK(state.members().front() == http::trace_state_member{"belay", "x"});
  CHECK(state.members().back().key == "k30");
  state.put("k5", "2");
  CHECK(state.members().size() == 32);
  CHECK(state.members().front() == http::trace_state_member{"k5", "2"});
  CHECK_THROWS_AS(state.put("Belay", "x"), http::message_error);
  CHECK_THROWS_AS(state.put("belay", "a,b"), http::message_error);
  CHECK_THROWS_AS(state.put("belay", "x "), http::message_error);
}

TEST_CASE(
    "trace context: numbers of the system do not repeat, neither over several blocks nor in another thread") {
  std::set<std::uint64_t> seen;
  const auto take = [&seen] {
    for (int i = 0; i != 100; ++i) CHECK(seen.insert(http::system_random()).second);
  };
  take();
  std::thread(take).join();
  CHECK(seen.size() == 200);
}

// SPDX-License-Identifier: Apache-2.0
// Fuzzes traceparent, tracestate, request targets and routes.

#include <belay/http/route_table.hpp>
#include <belay/http/trace_context.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace http = belay::http;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto parent = http::trace_parent::parse(text)) {
    if (!parent->trace.valid() || !parent->parent.valid()) std::abort();
    if (http::trace_parent::parse(parent->to_string()) != parent) std::abort();
  }
  if (const auto parsed = http::trace_state::parse(text)) {
    if (parsed->members().size() > 32) std::abort();
    if (http::trace_state::parse(parsed->to_string()) != parsed) std::abort();
  }
  static const http::route_table routes = [] {
    http::route_table table;
    table.add(http::method::get, "/");
    table.add(http::method::get, "/a/{x}");
    table.add(http::method::post, "/a/b");
    table.add(http::method::get, "/{y}/b/{z}");
    return table;
  }();
  if (!http::request::check_target(text)) {
    http::request r;
    r.set_target(text);
    const auto match = routes.find(http::method::get, r.path);
    for (const auto& parameter : match.parameters) {
      if (parameter.value.empty() || parameter.value == "." || parameter.value == "..") std::abort();
    }
  }
  (void)routes.find(http::method::get, text);
  return 0;
}

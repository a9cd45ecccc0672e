// SPDX-License-Identifier: Apache-2.0
// Fuzzes the JSON reader, and that a problem is a JSON object whatever it holds.

#include <belay/http/validation.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace http = belay::http;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    http::validation check;
    http::json_reader body(text, check);
    const auto n = body.required_integer("n", {.min = 1, .max = 1000});
    const auto s = body.required_string("s", {.min_length = 1, .max_length = 5});
    if (!check.failed_at("/n") && !check.failed() && (n < 1 || n > 1000)) std::abort();
    if (!check.failed() && (s.empty() || s.size() > 20)) std::abort();
    (void)body.optional_boolean("b");
    auto o = body.required_object("o");
    (void)o.optional_integer("i");
    for (auto& item : body.required_objects("a")) (void)item.optional_string("s");
    check.finish();
  } catch (const http::problem_error& e) {
    const int status = http::to_int(e.problem().status);
    if (status != 400 && status != 422) std::abort();
  }
  const http::problem p{.code = std::string(text),
                        .detail = std::string(text),
                        .errors = {{std::string(text), std::string(text)}}};
  try {
    http::validation check;
    http::json_reader body(std::string_view(p.to_json()), check);
    (void)body.required_string("type");
    (void)body.required_objects("errors");
    check.finish();
  } catch (const http::problem_error&) {
    std::abort();
  }
  return 0;
}

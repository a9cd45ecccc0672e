// SPDX-License-Identifier: Apache-2.0
// Reports as text.

#include <belay/testing/report.hpp>

#include "await_point.hpp"

namespace belay::testing {

namespace {

// "send_next(outbox &, semaphore &)": without the return type, the unnamed namespaces and the template arguments.
std::string function_text(std::string_view name) {
  if (const auto with = name.find(" [with "); with != std::string_view::npos) name = name.substr(0, with);
  if (const auto of = name.rfind(" ["); of != std::string_view::npos && name.ends_with("]"))
    name = name.substr(0, of);
  std::string text(name);
  for (const std::string_view noise : {"(anonymous namespace)::", "(anonymous class)::"}) {
    for (std::size_t at = 0; (at = text.find(noise, at)) != std::string::npos;) {
      text.replace(at, noise.size(), noise[11] == 'c' ? "lambda::" : "");
    }
  }
  const std::size_t arguments = text.find('(');
  const std::size_t type_end = text.rfind("> ", arguments);
  if (type_end != std::string::npos && arguments != std::string::npos) return text.substr(type_end + 2);
  const std::size_t word = text.rfind(' ', arguments);
  return word != std::string::npos && arguments != std::string::npos ? text.substr(word + 1) : text;
}

constexpr std::size_t most_lines = 8;  // of one list: a report is one screen

void add_finding(std::string& text, const finding& one) {
  text += "\n  " + one.what + "\n";
  text += "    promise: " + one.rule + "\n";
  // The sentence has the first of what is left already.
  for (std::size_t i = 0; i < one.left.size() && i < most_lines; ++i) text += "    - " + one.left[i] + "\n";
  if (one.left.size() > most_lines)
    text += "    ... and " + std::to_string(one.left.size() - most_lines) + " more\n";
  for (std::size_t i = 0; i < one.stack.size() && i < most_lines; ++i) {
    text += (i == 0 ? "    at       " : "    in       ") + place_text(one.stack[i]) + "  " +
            function_text(one.stack[i].function_name()) + "\n";
  }
  for (std::size_t i = 0; i < one.also.size() && i < most_lines; ++i) {
    text += (i == 0 ? "    stopped too: " : "                 ") + one.also[i] + "\n";
  }
  if (!one.replay.empty()) text += "    replay:  " + one.replay + "\n";
}

}  // namespace

std::string report::text() const {
  std::string text = name + ": ";
  if (runs != 0) {
    text += std::to_string(awaits) + (awaits == 1 ? " await, " : " awaits, ") + std::to_string(runs) +
            (runs == 1 ? " run, " : " runs, ");
  }
  text += findings.empty()
              ? std::string("no finding")
              : std::to_string(findings.size()) + (findings.size() == 1 ? " finding" : " findings");
  text += "\n";
  if (!complete) text += "  not complete: " + incomplete + "\n";
  for (const finding& one : findings) add_finding(text, one);
  return text;
}

void report::require() const {
  if (!ok()) throw promise_broken(text());
}

std::ostream& operator<<(std::ostream& out, const report& what) { return out << what.text(); }

}  // namespace belay::testing

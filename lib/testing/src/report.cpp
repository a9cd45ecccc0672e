// SPDX-License-Identifier: Apache-2.0
// Reports as text.

#include <belay/testing/report.hpp>

#include "await_point.hpp"

namespace belay::testing {

namespace {

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
            belay::detail::function_text(one.stack[i].function_name()) + "\n";
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

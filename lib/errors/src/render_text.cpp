// SPDX-License-Identifier: Apache-2.0
// Failures as text for people, with colours where there is a terminal.

#include <belay/core/detail/place.hpp>
#include <belay/errors/classify.hpp>
#include <belay/errors/render.hpp>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "render_parts.hpp"

namespace belay {

bool wants_colours(int file_descriptor) noexcept {
  const auto set = [](const char* name) -> std::string_view {
    const char* value =
        std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it while the program runs
    return value != nullptr ? value : "";
  };
  return set("NO_COLOR").empty() && set("TERM") != "dumb" && ::isatty(file_descriptor) == 1;
}

namespace {

constexpr std::string_view cut_here = "... cut here: the limit of bytes is reached";
constexpr std::size_t deepest = 16;

// Escapes what a terminal would take for itself, and what is no UTF-8. New lines stay, indented.
std::string harmless(std::string_view text, std::string_view indent) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    const std::size_t length = detail::valid_sequence(text);
    const auto byte = static_cast<unsigned char>(text.front());
    // C1 controls are two bytes in UTF-8: 0xc2 0x80 to 0xc2 0x9f.
    const bool c1 = length == 2 && byte == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    if (length == 0) {
      out.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 0xf]);
    } else if (byte == '\n') {
      out.append("\n").append(indent).append("  ");
    } else if (byte == '\t') {
      out += ' ';
    } else if (byte < 0x20 || byte == 0x7f || c1) {
      const auto control = c1 ? static_cast<unsigned char>(text[1]) : byte;
      out.append("\\u00").append(1, digits[control >> 4]).append(1, digits[control & 0xf]);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

struct palette {
  std::string_view error, label, place, off;
};
constexpr palette plain{"", "", "", ""};
constexpr palette coloured{"\x1b[1;31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"};

class text_writer {
 public:
  explicit text_writer(const text_options& options)
      : options_(options),
        ink_(options.colour == colours::always ||
                     (options.colour == colours::automatic && wants_colours(STDERR_FILENO))
                 ? coloured
                 : plain) {}

  void write(const failure& what, const std::string& indent, std::string_view label, std::size_t depth) {
    std::string head = indent;
    if (!label.empty()) head.append(ink_.label).append(label).append(ink_.off).append(" ");
    head.append(ink_.error).append(short_text(what.type_name(), indent)).append(ink_.off).append(": ");
    head.append(short_text(what.message(), indent));
    line(head);
    if (full_) return;
    what.observe();
    if (std::ranges::find(seen_, what) != seen_.end()) {
      line(indent + "  (told above)");
      return;
    }
    if (depth == deepest) {
      line(indent + "  ... deeper ones are not shown");
      return;
    }
    seen_.push_back(what);
    const std::string inner = indent + "  ";
    meaning(what, inner);
    const auto* typed = detail::exception_as<error>(what.exception());
    if (typed != nullptr && typed->where().line() != 0) {
      place(inner, "made at    ",
            detail::place_text(typed->where()) + " " + detail::function_text(typed->where().function_name()));
    }
    for (const std::string& row : detail::trace_rows_text(what, options_.most_trace_rows))
      place(inner, "awaited at ", row);
    if (typed != nullptr) {
      for (const error_detail& one : typed->details()) {
        if (typed->details().find(one.key()) == &one)
          line(inner + short_text(one.key(), inner) + " = " + short_text(one.text(), inner));
      }
    }
    for (const std::string& note : what.notes()) line(inner + "note: " + short_text(note, inner));
    for (const failure& one : what.record()->attached) {
      if (full_) break;
      write(one, inner, "also:", depth + 1);
    }
    if (const failure below = what.cause(); below && !full_) write(below, inner, "replaced:", depth + 1);
  }

  [[nodiscard]] std::string finish() && {
    if (full_) text_.append(cut_here);
    if (text_.ends_with('\n')) text_.pop_back();
    return std::move(text_);
  }

 private:
  // An escape is at most six times as long as its byte, a new line as long as the indentation; what does not fit ends the text.
  [[nodiscard]] std::string short_text(std::string_view words, const std::string& indent) const {
    return harmless(detail::shortened(words, options_.most_bytes / 16), indent);
  }
  void meaning(const failure& what, const std::string& inner) {
    const classification as = classify(what);
    std::string words = inner + "kind " + std::string(to_string(as.kind));
    if (!as.code.empty()) words += ", code " + short_text(as.code, inner);
    if (as.retryable) words += ", may be tried again";
    if (as.retry_after) {
      const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*as.retry_after);
      words += " after " + std::to_string(wait.count()) + " ms";
    }
    line(words);
  }
  void place(const std::string& inner, std::string_view what, const std::string& where) {
    std::string row = inner;
    row.append(ink_.place).append(what).append(short_text(where, inner)).append(ink_.off);
    line(row);
  }
  void line(const std::string& words) {
    if (full_ || text_.size() + words.size() + 1 + cut_here.size() > options_.most_bytes) {
      full_ = true;
      return;
    }
    text_.append(words).append("\n");
  }

  const text_options& options_;
  palette ink_;
  std::string text_;
  std::vector<failure> seen_;
  bool full_ = false;
};

}  // namespace

std::string render_text(const failure& what, const text_options& options) {
  detail::check_limits("text_options", options.most_bytes, options.most_trace_rows);
  if (!what) return "no failure";
  text_writer out(options);
  out.write(what, "", "", 0);
  return std::move(out).finish();
}

}  // namespace belay

// SPDX-License-Identifier: Apache-2.0
// Failures as JSON of a bounded size.

#include <belay/core/detail/place.hpp>
#include <belay/core/detail/runtime.hpp>
#include <belay/errors/classify.hpp>
#include <belay/errors/render.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string_view>
#include <vector>

#include "render_parts.hpp"

namespace belay {

namespace {

using detail::json_string;

constexpr std::string_view truncated = ",\"truncated\":true";
constexpr std::size_t deepest = 16;  // attached to attached, causes of causes

// An object or a list that takes what fits. Room for its end and for the word that something is missing is kept from the start.
class bounded_json {
 public:
  bounded_json(char open, char close, std::size_t room) : text_(1, open), close_(close), room_(room) {}

  // What a member of the given name may take.
  [[nodiscard]] std::size_t room_for(std::string_view name) const noexcept {
    const std::size_t taken = text_.size() + name.size() + 5 + truncated.size();
    return room_ > taken ? room_ - taken : 0;
  }
  bool add(std::string_view name, std::string_view json) {
    if (json.size() > room_for(name)) {
      missing_ = true;
      return false;
    }
    if (text_.size() > 1) text_ += ',';
    if (!name.empty()) text_.append("\"").append(name).append("\":");
    text_ += json;
    return true;
  }
  void lacks_something() noexcept { missing_ = true; }
  [[nodiscard]] bool missing() const noexcept { return missing_; }
  [[nodiscard]] bool empty() const noexcept { return text_.size() == 1; }

  [[nodiscard]] std::string finish() && {
    if (missing_ && close_ == '}') text_ += text_.size() > 1 ? truncated : truncated.substr(1);
    text_ += close_;
    return std::move(text_);
  }

 private:
  std::string text_;
  char close_;
  std::size_t room_;
  bool missing_ = false;
};

std::string number_json(double number) {
  // JSON has no infinities.
  return std::isfinite(number) ? error_detail("", number).text()
                               : json_string(error_detail("", number).text());
}

class json_writer {
 public:
  explicit json_writer(const json_options& options)
      : options_(options), longest_text_(options.most_bytes / 16) {}

  std::string write(const failure& what, std::size_t room, std::size_t depth) {
    bounded_json out('{', '}', room);
    out.add("type", text(what.type_name()));
    out.add("message", text(what.message()));
    if (std::ranges::find(shown_, what) != shown_.end()) {
      out.add("repeated", "true");
      return std::move(out).finish();
    }
    shown_.push_back(what);
    if (depth == deepest) {
      out.lacks_something();
      return std::move(out).finish();
    }
    add_classification(out, what);
    if (const auto* typed = detail::exception_as<error>(what.exception())) add_own_words(out, *typed);
    add_list(out, "trace", detail::trace_rows_text(what, options_.most_trace_rows));
    add_list(out, "notes", {what.notes().begin(), what.notes().end()});
    add_attached(out, what, depth);
    if (const failure below = what.cause()) {
      const std::size_t before = shown_.size();
      if (!out.add("cause", write(below, out.room_for("cause"), depth + 1))) shown_.resize(before);
    }
    return std::move(out).finish();
  }
  // Only now is it known what has stayed in the text.
  void observe_shown() const noexcept {
    for (const failure& one : shown_) one.observe();
  }

 private:
  // At most six times as long as the limit of texts, in the worst of escapes.
  [[nodiscard]] std::string text(std::string_view words) const {
    return json_string(detail::shortened(words, longest_text_));
  }
  void add_classification(bounded_json& out, const failure& what) const {
    const classification as = classify(what);
    out.add("kind", text(to_string(as.kind)));
    if (!as.code.empty()) out.add("code", text(as.code));
    out.add("retryable", as.retryable ? "true" : "false");
    if (as.retry_after) out.add("retry_after_ms", milliseconds(*as.retry_after));
  }
  static std::string milliseconds(duration length) {
    return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(length).count());
  }
  void add_own_words(bounded_json& out, const error& typed) const {
    const detail::runtime* rt = detail::this_runtime;
    const time_point now = (rt != nullptr && rt->time != nullptr ? *rt->time : steady_clock()).now();
    out.add("age_ms", milliseconds(std::max(duration::zero(), now - typed.when())));
    if (typed.where().line() != 0) out.add("place", text(detail::place_text(typed.where())));
    if (typed.details().empty()) return;
    bounded_json details('{', '}', out.room_for("details"));
    for (const error_detail& one : typed.details()) {
      if (typed.details().find(one.key()) != &one) continue;  // of equal keys the last one
      const std::string key = text(one.key());
      details.add(std::string_view(key).substr(1, key.size() - 2), value(one));
    }
    if (details.missing()) out.lacks_something();
    out.add("details", std::move(details).finish());
  }
  [[nodiscard]] std::string value(const error_detail& one) const {
    if (one.is_sensitive() || one.get<std::string>() != nullptr) return text(one.text());
    if (const auto* number = one.get<double>()) return number_json(*number);
    return one.text();
  }
  void add_list(bounded_json& out, std::string_view name, const std::vector<std::string>& rows) const {
    if (rows.empty()) return;
    bounded_json list('[', ']', out.room_for(name));
    for (const std::string& row : rows) {
      if (!list.add("", text(row))) break;
    }
    if (list.missing()) out.lacks_something();
    if (!list.empty()) out.add(name, std::move(list).finish());
  }
  void add_attached(bounded_json& out, const failure& what, std::size_t depth) {
    const std::vector<failure>& attached = what.record()->attached;
    if (attached.empty()) return;
    const std::size_t before_list = shown_.size();
    bounded_json list('[', ']', out.room_for("attached"));
    for (const failure& one : attached) {
      // A failure of which not even type and message fit is not begun.
      const std::size_t before = shown_.size();
      if (list.room_for("") < options_.most_bytes / 8 ||
          !list.add("", write(one, list.room_for(""), depth + 1))) {
        shown_.resize(before);
        list.lacks_something();
        break;
      }
    }
    if (list.missing()) out.lacks_something();
    if (list.empty() || !out.add("attached", std::move(list).finish())) shown_.resize(before_list);
  }

  const json_options& options_;
  std::size_t longest_text_;
  std::vector<failure> shown_;
};

}  // namespace

std::string render_json(const failure& what, const json_options& options) {
  detail::check_limits("json_options", options.most_bytes, options.most_trace_rows);
  if (!what) return "null";
  json_writer out(options);
  std::string text = out.write(what, options.most_bytes, 0);
  out.observe_shown();
  return text;
}

}  // namespace belay

// SPDX-License-Identifier: Apache-2.0
// Rendering of one record as a JSON object or as a pretty line.

#include "record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <iterator>

#include "text.hpp"

namespace belay::telemetry::detail {

namespace {

constexpr int max_depth = 16;  // of nested lists and objects; common JSON readers stop at 32

struct named {
  std::string_view key;
  const value* content;
};

// Own fields win over bound ones, of equal keys the last one counts; the place is that of the first.
std::vector<named> merged(const record_view& record) {
  std::vector<named> out;
  out.reserve(record.bound.size() + record.own.size());
  const auto add = [&out](const field& next) {
    const auto same = std::find_if(out.begin(), out.end(), [&](const named& n) { return n.key == next.key; });
    if (same != out.end()) {
      same->content = &next.value;
    } else {
      out.push_back({next.key, &next.value});
    }
  };
  std::for_each(record.bound.begin(), record.bound.end(), add);
  std::for_each(record.own.begin(), record.own.end(), add);
  return out;
}

const value* take(std::vector<named>& from, std::string_view key) {
  const auto found = std::find_if(from.begin(), from.end(), [&](const named& n) { return n.key == key; });
  if (found == from.end()) return nullptr;
  const value* content = found->content;
  from.erase(found);
  return content;
}

bool is_null(const value& v) { return std::holds_alternative<std::nullptr_t>(v.get()); }

std::string placeholder(const std::exception& problem) {
  const char* text = problem.what();
  return fmt::format("<no value: {}>", text ? text : "unknown error");
}

// How a value looks, apart from its strings.
template <class AppendString>
class value_writer {
 public:
  value_writer(std::string& out, const render_rules& rules, AppendString append_string)
      : out_(out), rules_(rules), append_string_(append_string) {}

  void write(std::string_view key, const value& content, int depth = 0) {
    if (rules_.secrets->is_secret(key) && !is_null(content)) {
      append_string_(out_, redacted_text);
    } else if (depth > max_depth) {
      append_string_(out_, "<too deep>");
    } else {
      std::visit([&](const auto& alternative) { write_alternative(alternative, depth); }, content.get());
    }
  }

  void write_text(std::string_view text) {
    append_string_(out_, shortened(rules_.secrets->text(text), rules_.max_text_bytes));
  }

 private:
  void write_alternative(std::nullptr_t, int) { out_ += "null"; }
  void write_alternative(bool flag, int) { out_ += flag ? "true" : "false"; }
  void write_alternative(std::int64_t number, int) { fmt::format_to(std::back_inserter(out_), "{}", number); }
  void write_alternative(std::uint64_t number, int) {
    fmt::format_to(std::back_inserter(out_), "{}", number);
  }
  void write_alternative(double number, int) { append_double(out_, number); }
  void write_alternative(const std::string& text, int) { write_text(text); }
  void write_alternative(const value::lazy& compute, int depth) {
    const value now = computed(value(compute));
    write({}, now, depth + 1);
  }
  void write_alternative(const value::list& items, int depth) {
    out_ += '[';
    const char* separator = "";
    for (const value& item : items) {
      out_ += separator;
      write({}, item, depth + 1);
      separator = ",";
    }
    out_ += ']';
  }
  void write_alternative(const value::object& members, int depth) {
    out_ += '{';
    const char* separator = "";
    for (auto member = members.begin(); member != members.end(); ++member) {
      const auto same_key = [&](const field& other) { return other.key == member->key; };
      if (std::any_of(std::next(member), members.end(), same_key)) continue;  // the last one counts
      out_ += separator;
      append_json_string(out_, member->key);
      out_ += ':';
      write(member->key, member->value, depth + 1);
      separator = ",";
    }
    out_ += '}';
  }

  std::string& out_;
  const render_rules& rules_;
  AppendString append_string_;
};

// The names that the record itself uses; fields of these names step aside.
constexpr std::array<std::string_view, 3> own_names{"time", "level", "event"};

std::string free_name(std::string_view key, const std::vector<named>& fields, bool has_failure) {
  std::string name(key);
  const auto taken = [&] {
    return std::find(own_names.begin(), own_names.end(), name) != own_names.end() ||
           (has_failure && name == "failure") ||
           (name != key &&
            std::any_of(fields.begin(), fields.end(), [&](const named& n) { return n.key == name; }));
  };
  while (taken()) name += '_';
  return name;
}

// A failure as a person reads it, each line indented, so that no text of it can pass for a record.
void append_failure_lines(std::string& out, const value& node, const render_rules& rules,
                          std::string_view title, std::size_t indent) {
  const auto* members = std::get_if<value::object>(&node.get());
  if (!members) return;
  const std::string margin(indent, ' ');
  const auto text_of = [&](std::string_view key) -> std::string {
    for (const field& member : *members) {
      const auto* text = std::get_if<std::string>(&member.value.get());
      if (member.key == key && text) return shortened(rules.secrets->text(*text), rules.max_text_bytes);
    }
    return {};
  };
  const auto add_line = [&](std::string_view lead, std::string_view text) {
    out += '\n';
    out += margin;
    out += lead;
    append_pretty_text(out, text);
  };
  add_line(title, text_of("type") + ": " + text_of("message"));
  if (const std::string kind = text_of("kind"); !kind.empty()) {
    const std::string code = text_of("code");
    add_line("  kind ", code.empty() ? kind : kind + ", code " + code);
  }
  for (const field& member : *members) {
    if (const auto* items = std::get_if<value::list>(&member.value.get())) {
      for (const value& item : *items) {
        if (member.key == "attached") {
          append_failure_lines(out, item, rules, "also failed: ", indent + 2);
        } else if (const auto* text = std::get_if<std::string>(&item.get())) {
          add_line(member.key == "trace" ? "  at " : "  note: ", rules.secrets->text(*text));
        }
      }
    } else if (member.key == "cause") {
      append_failure_lines(out, member.value, rules, "caused by: ", indent + 2);
    } else if (member.key == "repeated") {
      add_line("  ", "(told above)");
    } else if (member.key == "truncated") {
      add_line("  ", "(what belongs to it is left out)");
    }
  }
}

}  // namespace

value computed(const value& source) noexcept {
  try {
    const value* now = &source;
    value held;
    for (int turns = 0; turns < 8; ++turns) {  // a lazy value may give another one
      const auto* compute = std::get_if<value::lazy>(&now->get());
      if (!compute) return *now;
      if (!*compute) return value();
      value next = (*compute)();
      held = std::move(next);
      now = &held;
    }
    return value("<no value: lazy without end>");
  } catch (const std::exception& problem) {
    try {
      return value(placeholder(problem));
    } catch (...) {
      return value();  // no memory even for the placeholder
    }
  } catch (...) {
    try {
      return value("<no value: unknown exception>");
    } catch (...) {
      return value();
    }
  }
}

std::string render_json(const record_view& record, const render_rules& rules) {
  std::string out;
  out.reserve(256);
  value_writer writer(out, rules, append_json_string);
  std::vector<named> fields = merged(record);
  const bool has_failure = record.what && *record.what;

  out += "{\"time\":\"";
  append_time(out, record.time);
  out += "\",\"level\":\"";
  out += to_string(record.importance);
  out += "\",\"event\":";
  append_json_string(out, shortened(record.event, rules.max_text_bytes));
  if (const value* trace_id = take(fields, "trace_id"); trace_id && !is_null(*trace_id)) {
    out += ",\"trace_id\":";
    writer.write("trace_id", *trace_id);
  }
  for (const named& next : fields) {
    out += ',';
    append_json_string(out, free_name(next.key, fields, has_failure));
    out += ':';
    writer.write(next.key, *next.content);
  }
  if (has_failure) {
    out += ",\"failure\":";
    writer.write("failure", failure_value(*record.what, rules.max_trace_rows));
  }
  out += '}';
  return out;
}

std::string render_pretty(const record_view& record, const render_rules& rules) {
  std::string out;
  out.reserve(256);
  value_writer writer(out, rules, append_pretty_word);
  std::vector<named> fields = merged(record);

  append_time(out, record.time);
  fmt::format_to(std::back_inserter(out), " {:<5} ", to_string(record.importance));
  const value* message = take(fields, "message");
  const auto* text = message ? std::get_if<std::string>(&message->get()) : nullptr;
  append_pretty_text(
      out, shortened(text ? rules.secrets->text(*text) : std::string(record.event), rules.max_text_bytes));
  if (message && !text) {
    out += " message=";
    writer.write("message", *message);
  }
  for (const named& next : fields) {
    out += ' ';
    append_pretty_word(out, next.key);
    out += '=';
    writer.write(next.key, *next.content);
  }
  if (record.what && *record.what) {
    append_failure_lines(out, failure_value(*record.what, rules.max_trace_rows), rules, "", 4);
  }
  return out;
}

}  // namespace belay::telemetry::detail

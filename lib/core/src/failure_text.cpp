// SPDX-License-Identifier: Apache-2.0
// Failures as text and as JSON, within bounds.

#include <belay/core/detail/place.hpp>
#include <belay/core/error.hpp>
#include <belay/core/failure.hpp>

#include <algorithm>
#include <unordered_set>

namespace belay {

namespace {

// How much is shown. The first failure is what people look for; of the others, the beginning.
struct bounds {
  std::size_t bytes;  // when there are that many, no other failure is begun
  std::size_t depth;
  std::size_t failures;
  std::size_t first_message;
  std::size_t message;
  std::size_t type;
  std::size_t first_places;
  std::size_t places;
  std::size_t notes;
};
constexpr bounds on_screen{16'000, 8, 16, 8'000, 400, 200, 24, 6, 8};
constexpr bounds in_json{128'000, 8, 64, 16'000, 1'000, 200, 64, 8, 8};

class renderer {
 public:
  renderer(const failure& what, const bounds& limits) : limits_(&limits) {
    for (const failure& one : what.flatten()) all_.insert(one.record().get());
  }

  // One that is attached, or was replaced: shown once, as far as there is room.
  [[nodiscard]] bool has_room(const failure& one, std::size_t depth, const std::string& text) const {
    return depth < limits_->depth && text.size() < limits_->bytes && shown_.size() < limits_->failures &&
           !shown_.contains(one.record().get());
  }
  [[nodiscard]] std::size_t left_out() const {
    return all_.size() > shown_.size() ? all_.size() - shown_.size() : 0;
  }
  [[nodiscard]] std::string message_of(const failure& one) const {
    return detail::cut_text(one.message(), message_bytes());
  }
  [[nodiscard]] std::size_t message_bytes() const noexcept {
    return first() ? limits_->first_message : limits_->message;
  }
  [[nodiscard]] std::size_t note_bytes() const noexcept { return limits_->message; }
  [[nodiscard]] std::string type_of(const failure& one) const {
    return detail::cut_text(one.type_name(), limits_->type);
  }
  // How many places at the beginning of the trace; the last three are shown besides.
  [[nodiscard]] std::size_t places_of(const failure& one) const {
    const std::size_t most = first() ? limits_->first_places : limits_->places;
    return one.trace().size() <= most ? one.trace().size() : most - 3;
  }
  [[nodiscard]] std::size_t notes_of(const failure& one) const {
    return std::min(one.notes().size(), limits_->notes);
  }
  [[nodiscard]] std::string note_text(const std::string& note) const {
    return detail::cut_text(note, note_bytes());
  }
  // How many lines of a message.
  [[nodiscard]] std::size_t lines() const noexcept { return first() ? 200 : 8; }
  void show(const failure& one) {
    shown_.insert(one.record().get());
    kept_.push_back(one);
  }

 private:
  [[nodiscard]] bool first() const noexcept { return shown_.size() <= 1; }

  const bounds* limits_;
  std::unordered_set<const detail::failure_record*> all_;
  std::unordered_set<const detail::failure_record*> shown_;
  std::vector<failure>
      kept_;  // so that no address comes twice: records of nested foreign exceptions are made when asked for
};

void add_place(std::string& text, const std::string& before, const std::source_location& place) {
  text.append(before).append(detail::place_text(place));
  text.append("  ").append(detail::cut_text(place.function_name(), 200)).append("\n");
}

// The next character of a message: how many bytes it has, and whether a terminal could take it for a command.
struct character {
  std::size_t length;
  bool controls;
};
character next_of(std::string_view message) noexcept {
  const auto byte = static_cast<unsigned char>(message.front());
  if (byte < 0x80) return {1, (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f};
  const std::size_t length = detail::utf8_length(message);
  if (length == 0) return {1, true};
  // U+0080 to U+009F: the second half of the controls.
  return {length, byte == 0xc2 && static_cast<unsigned char>(message[1]) < 0xa0};
}

// The lines of a message below each other, `lines` of them and `most` bytes at the most. What could move the cursor of a terminal is written
// in numbers.
void add_lines(std::string& text, std::string_view message, const std::string& indent, std::size_t lines,
               std::size_t most) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::size_t written = 0;
  while (!message.empty()) {
    const auto [length, controls] = next_of(message);
    const std::size_t more = controls ? 4 * length : length;
    if (written + more > most) {
      text += "... (" + std::to_string(message.size()) + " more bytes)";
      break;
    }
    if (message.front() == '\n' && --lines == 0) {
      text += " ... (more lines)";
      break;
    }
    for (const char c : message.substr(0, length)) {
      const auto byte = static_cast<unsigned char>(c);
      if (controls) {
        text.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
      } else {
        text += c;
      }
    }
    if (message.front() == '\n') text += indent;
    written += more;
    message.remove_prefix(length);
  }
  text += '\n';
}

void add_trace(std::string& text, const failure& what, std::size_t begin, const std::string& indent) {
  const auto trace = what.trace();
  for (const std::source_location& place : trace.first(begin))
    add_place(text, indent + "  awaited at ", place);
  if (begin == trace.size()) return;
  text += indent + "  ... " + std::to_string(trace.size() - begin - 3) + " places\n";
  for (const std::source_location& place : trace.last(3)) add_place(text, indent + "  awaited at ", place);
}

// Values that are marked sensitive say so themselves. Of equal keys the last one counts: what it replaced is not shown.
void add_details(std::string& text, const failure& what, const std::string& indent) {
  constexpr std::size_t most = 16;
  constexpr std::size_t longest = 256;
  const auto* typed = detail::exception_as<error>(what.exception());
  if (typed == nullptr) return;
  std::size_t counted = 0;
  for (const error_detail& one : typed->details()) {
    if (typed->details().find(one.key()) != &one || ++counted > most) continue;
    text.append(indent).append("  ").append(one.key().substr(0, longest)).append(" = ");
    add_lines(text, one.text(), indent + "    ", 8, longest);
  }
  if (counted > most) text += indent + "  ... " + std::to_string(counted - most) + " more details\n";
}

void describe_one(const failure& what, std::string& text, const std::string& indent, std::size_t depth,
                  renderer& all) {
  all.show(what);
  text.append(all.type_of(what)).append(": ");
  add_lines(text, what.message(), indent + "  ", all.lines(), all.message_bytes());
  if (const auto* typed = detail::exception_as<error>(what.exception());
      typed != nullptr && typed->where().line() != 0) {
    add_place(text, indent + "  made at    ", typed->where());
  }
  add_trace(text, what, all.places_of(what), indent);
  add_details(text, what, indent);
  const std::size_t notes = all.notes_of(what);
  for (const std::string& note : what.notes().first(notes)) {
    text.append(indent).append("  note: ");
    add_lines(text, note, indent + "    ", 8, all.note_bytes());
  }
  if (notes < what.notes().size())
    text += indent + "  ... " + std::to_string(what.notes().size() - notes) + " more notes\n";
  // The cause belongs to this very failure, so it goes before the room is used up by what else failed.
  if (failure below = what.cause(); below && all.has_room(below, depth, text)) {
    text.append(indent).append("  replaced: ");
    describe_one(below, text, indent + "    ", depth + 1, all);
  }
  for (const failure& one : what.attached()) {
    if (!all.has_room(one, depth, text)) continue;
    text.append(indent).append("  also: ");
    describe_one(one, text, indent + "    ", depth + 1, all);
  }
}

void add_places_json(std::string& text, std::span<const std::source_location> places) {
  for (const std::source_location& place : places) {
    if (text.back() != '[') text += ',';
    text += detail::place_json(place);
  }
}

void json_one(const failure& what, std::string& text, std::size_t depth, renderer& all) {
  all.show(what);
  const auto* typed = detail::exception_as<error>(what.exception());
  text += "\"type\":" + detail::json_string(all.type_of(what));
  text += ",\"message\":" + detail::json_string(all.message_of(what));
  text += ",\"kind\":" + (typed != nullptr ? detail::json_string(to_string(typed->kind())) : "null");
  text += ",\"code\":" + (typed != nullptr && !typed->code().empty()
                              ? detail::json_string(detail::cut_text(typed->code(), 200))
                              : "null");
  text += ",\"made_at\":" +
          (typed != nullptr && typed->where().line() != 0 ? detail::place_json(typed->where()) : "null");
  text += ",\"trace\":[";
  const std::size_t begin = all.places_of(what);
  add_places_json(text, what.trace().first(begin));
  if (begin < what.trace().size()) add_places_json(text, what.trace().last(3));
  text += "],\"notes\":[";
  for (const std::string& note : what.notes().first(all.notes_of(what))) {
    if (text.back() != '[') text += ',';
    text += detail::json_string(all.note_text(note));
  }
  text += "],\"cause\":";
  if (failure below = what.cause(); below && all.has_room(below, depth, text)) {
    text += '{';
    json_one(below, text, depth + 1, all);
    text += '}';
  } else {
    text += "null";
  }
  text += ",\"attached\":[";
  for (const failure& one : what.attached()) {
    if (!all.has_room(one, depth, text)) continue;
    text += text.back() == '[' ? "{" : ",{";
    json_one(one, text, depth + 1, all);
    text += '}';
  }
  text += ']';
}

}  // namespace

std::string describe(const failure& what) {
  if (!what) return "no failure";
  std::string text;
  renderer all(what, on_screen);
  describe_one(what, text, "", 0, all);
  if (const std::size_t more = all.left_out(); more != 0)
    text += "  ... and " + std::to_string(more) + " more failures\n";
  text.pop_back();
  return text;
}

std::string to_json(const failure& what) {
  if (!what) return "null";
  std::string text = "{";
  renderer all(what, in_json);
  json_one(what, text, 0, all);
  text += ",\"handled\":" + std::string(what.lost() ? "false" : "true");
  return text + ",\"left_out\":" + std::to_string(all.left_out()) + "}";
}

}  // namespace belay

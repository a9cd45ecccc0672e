// SPDX-License-Identifier: Apache-2.0
// W3C Trace Context, level 1 traceparent (version 00) and level 2 tracestate keys.

#include <belay/http/trace_context.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <system_error>
#include <utility>

namespace belay::http {
namespace {

constexpr std::size_t max_members = 32;

constexpr int lower_hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool read_hex(std::string_view text, std::span<std::uint8_t> out) noexcept {
  if (text.size() != out.size() * 2) return false;
  for (std::size_t i = 0; i != out.size(); ++i) {
    const int high = lower_hex_digit(text[2 * i]);
    const int low = lower_hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return true;
}

char* write_hex(char* at, std::span<const std::uint8_t> bytes) noexcept {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const std::uint8_t byte : bytes) {
    *at++ = digits[byte >> 4];
    *at++ = digits[byte & 0xf];
  }
  return at;
}

template <class Id>
std::string hex_of(const Id& id) {
  std::string out(2 * id.bytes.size(), '0');
  write_hex(out.data(), id.bytes);
  return out;
}

template <class Id>
Id make_id(const random_source& random) {
  Id id;
  for (int attempt = 0; attempt != 8 && !id.valid(); ++attempt) {
    for (std::size_t i = 0; i < id.bytes.size(); i += 8) {
      const std::uint64_t bits = random();
      for (std::size_t k = 0; k != 8; ++k) id.bytes[i + k] = static_cast<std::uint8_t>(bits >> (56 - 8 * k));
    }
  }
  if (!id.valid()) id.bytes.back() = 1;
  return id;
}

// What is at most so long, and begins with a letter or a digit.
bool is_key_part(std::string_view text, std::size_t longest) noexcept {
  const auto first = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= longest && first(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return first(c) || std::string_view("_-*/").find(c) != std::string_view::npos;
         });
}

// A key, or tenant@system (section 3.3.1.3.1 of the first edition; the second one takes more, but not everybody speaks it).
bool is_key(std::string_view text) noexcept {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos) return is_key_part(text, 256);
  return is_key_part(text.substr(0, at), 241) && is_key_part(text.substr(at + 1), 14);
}

bool is_value(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 256 && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= 0x20 && c <= 0x7e && c != ',' && c != '='; });
}

std::string_view trim_end(std::string_view text) noexcept {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string to_string(const trace_id& id) { return hex_of(id); }
std::string to_string(const span_id& id) { return hex_of(id); }

std::uint64_t system_random() {
  struct block {
    std::array<std::uint64_t, 32> bits{};  // 256 bytes: as much as the system gives at once
    std::size_t left = 0;
  };
  static thread_local block here;
  if (here.left == 0) {
    if (::getentropy(here.bits.data(), sizeof here.bits) != 0)
      throw std::system_error(errno, std::system_category(), "random numbers of the system");
    here.left = here.bits.size();
  }
  return std::exchange(here.bits[--here.left], 0);  // used once, and not kept
}

trace_id make_trace_id(const random_source& random) { return make_id<trace_id>(random); }
span_id make_span_id(const random_source& random) { return make_id<span_id>(random); }

std::optional<trace_state> trace_state::parse(std::string_view text) {
  trace_state out;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view member = trim_whitespace(text.substr(0, comma));
    if (!member.empty()) {
      const std::size_t equals = member.find('=');
      if (equals == std::string_view::npos) return std::nullopt;
      const std::string_view key = member.substr(0, equals);
      const std::string_view value = trim_end(member.substr(equals + 1));
      if (!is_key(key) || !is_value(value) || out.members_.size() == max_members) return std::nullopt;
      out.members_.push_back({std::string(key), std::string(value)});
    }
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

void trace_state::put(std::string_view key, std::string_view value) {
  if (!is_key(key) || !is_value(value)) {
    throw message_error("invalid_tracestate",
                        "tracestate: the key or the value of the new entry is not allowed by the grammar");
  }
  trace_state_member added{std::string(key), std::string(value)};
  std::erase_if(members_, [&](const trace_state_member& member) { return member.key == added.key; });
  members_.insert(members_.begin(), std::move(added));
  if (members_.size() > max_members) members_.resize(max_members);
}

std::string trace_state::to_string() const {
  std::string out;
  for (const trace_state_member& member : members_) {
    if (!out.empty()) out += ',';
    out.append(member.key).append("=").append(member.value);
  }
  return out;
}

std::optional<trace_parent> trace_parent::parse(std::string_view text) {
  text = trim_whitespace(text);
  if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  std::array<std::uint8_t, 1> version{};
  std::array<std::uint8_t, 1> flags{};
  trace_parent out;
  if (!read_hex(text.substr(0, 2), version) || !read_hex(text.substr(3, 32), out.trace.bytes) ||
      !read_hex(text.substr(36, 16), out.parent.bytes) || !read_hex(text.substr(53, 2), flags)) {
    return std::nullopt;
  }
  if (version[0] == 0xff || !out.trace.valid() || !out.parent.valid()) return std::nullopt;
  if (text.size() > 55 && (version[0] == 0 || text[55] != '-')) return std::nullopt;
  out.sampled = (flags[0] & 1) != 0;
  return out;
}

std::string trace_parent::to_string() const {
  std::string out = "00-................................-................-01";
  char* const end = write_hex(write_hex(out.data() + 3, trace.bytes) + 1, parent.bytes);
  if (!sampled) end[2] = '0';
  return out;
}

std::string trace_context::to_traceparent() const { return trace_parent{trace, span, sampled}.to_string(); }

trace_context continue_trace(const headers& from, const random_source& random) {
  const auto text = from.find("traceparent");
  const auto parsed = text && from.count("traceparent") == 1 ? trace_parent::parse(*text) : std::nullopt;
  if (!parsed) return start_trace(random);
  trace_context out;
  out.trace = parsed->trace;
  out.parent = parsed->parent;
  out.sampled = parsed->sampled;
  out.span = make_span_id(random);
  out.state = trace_state::parse(from.combined("tracestate")).value_or(trace_state{});
  return out;
}

trace_context start_trace(const random_source& random) {
  trace_context out;
  out.trace = make_trace_id(random);
  out.span = make_span_id(random);
  return out;
}

trace_context make_child(const trace_context& of, const random_source& random) {
  trace_context out = of;
  out.parent = of.span;
  out.span = make_span_id(random);
  return out;
}

void inject(const trace_context& context, headers& into) {
  into.set("traceparent", context.to_traceparent());
  into.remove("tracestate");
  if (!context.state.empty()) into.add("tracestate", context.state.to_string());
}

std::string_view request_id(const headers& from) noexcept {
  const std::optional<std::string_view> text = from.find("X-Request-Id");
  if (!text || text->empty() || text->size() > 128 || from.count("X-Request-Id") != 1) return {};
  for (const char c : *text) {
    const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!alphanumeric && std::string_view("-._~:/+=@").find(c) == std::string_view::npos) return {};
  }
  return *text;
}

}  // namespace belay::http

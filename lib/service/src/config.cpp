// SPDX-License-Identifier: Apache-2.0
// Reading a configuration: sources in order of precedence, all mistakes at once, help.

#include <belay/core/error.hpp>
#include <belay/service/config.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace belay::service {

config_sources config_sources::of(int argc, const char* const* argv) {
  config_sources found;
  for (int i = 1; i < argc; ++i) found.arguments.emplace_back(argv[i]);
  found.environment = [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): before any thread
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  return found;
}

namespace detail {

namespace {

bool is_reserved(std::string_view name) {
  return name == "help" || name == "config" || name == "print-config";
}

bool is_well_formed(std::string_view name) {
  return !name.empty() && name.front() >= 'a' && name.front() <= 'z' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == std::string_view::npos &&
         name.back() != '.' && name.back() != '-' && name.find("..") == std::string_view::npos;
}

// As a TOML string.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

const char* kind_text(config_kind of) {
  return of == config_kind::text      ? "expected a string, in quotes"
         : of == config_kind::integer ? "expected a whole number, without quotes"
                                      : "expected true or false, without quotes";
}

// Whether a message about `text` leaves it out.
bool hides(const config_entry& of, std::string_view text) {
  return of.secret || of.veiled || (of.is_url && text.find('@') != std::string_view::npos);
}

// Levenshtein's distance, one row at a time.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j != row.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i != a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j != b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(std::string_view to, const std::vector<std::string>& among) {
  if (to.size() > 64) return {};  // no slip of the finger
  std::string best;
  std::size_t least = std::max<std::size_t>(2, to.size() / 3) + 1;
  for (const std::string& name : among) {
    const std::size_t far = distance(to, name);
    if (far < least && far < name.size()) {
      least = far;
      best = name;
    }
  }
  return best;
}

int finish_config(const std::string& text, int code) {
  std::fputs(text.c_str(), code == 0 ? stdout : stderr);
  return code;
}

config_core::config_core(config_about about) : about_(std::move(about)) {
  if (about_.program.empty()) throw misuse_error("config: the program needs a name");
}

void config_core::add(config_entry entry, const void* defaults, const std::string& trouble_of_default) {
  const auto wrong = [&entry](const std::string& why) {
    throw misuse_error("config::add: option '" + entry.name + "' " + why);
  };
  if (!is_well_formed(entry.name)) wrong("must be of a-z, 0-9, - and dots");
  if (is_reserved(entry.name)) wrong("is reserved");
  for (const config_entry& other : entries_) {
    if (other.name == entry.name) wrong("is there already");
    if (variable(other.name) == variable(entry.name)) wrong("has the same variable as '" + other.name + "'");
    if (other.name.starts_with(entry.name + ".") || entry.name.starts_with(other.name + "."))
      wrong("would be a value and a table, as '" + other.name + "' is there");
  }
  if (!trouble_of_default.empty()) wrong(trouble_of_default);
  defaults_.push_back(entry.show(defaults));
  entries_.push_back(std::move(entry));
}

std::string config_core::variable(std::string_view name) const {
  std::string out = about_.program + "_" + std::string(name);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) c = '_';
  }
  return out;
}

std::string config_core::help() const {
  std::string out = about_.description.empty() ? "" : about_.description + "\n\n";
  out += "Usage: " + about_.program + " [--OPTION VALUE]...\n\n";
  const auto line = [&out](const std::string& option, const std::string& text, const std::string& more) {
    constexpr std::size_t column = 30;
    out += "  " + option;
    if (option.size() + 4 > column) {
      out += '\n' + std::string(column, ' ');
    } else {
      out += std::string(column - option.size() - 2, ' ');
    }
    out += text + '\n' + std::string(column, ' ') + more + '\n';
  };
  for (std::size_t i = 0; i != entries_.size(); ++i) {
    const config_entry& one = entries_[i];
    const std::string given = defaults_[i].empty() ? "none" : one.secret ? "***" : defaults_[i];
    line("--" + one.name + " " + one.form, one.description, "default: " + given + "; " + variable(one.name));
  }
  line("--config FILE", "a TOML file with these options", "default: none; " + variable("config"));
  out += "  --print-config              shows each value and where it comes from\n";
  out += "  --help                      shows this\n";
  out += "\nThe command line goes before the environment, that before the file, that before the defaults.\n";
  if (!about_.footer.empty()) out += about_.footer + '\n';
  return out;
}

// One reading.
struct config_core::run {
  const config_core& of;
  void* settings;
  std::vector<std::string> origins{};  // by entry; empty: the default
  std::vector<std::string> mistakes{};
  std::string file{};
  std::string file_origin{};
  bool print = false;

  [[nodiscard]] std::size_t find(std::string_view name) const {
    std::size_t at = 0;
    while (at != of.entries_.size() && of.entries_[at].name != name) ++at;
    return at;
  }

  void wrong(const std::string& what, const std::string& value, bool secret, const std::string& origin,
             const std::string& why) {
    mistakes.push_back(what + (secret ? "" : " '" + value + "'") +
                       (origin.empty() ? "" : " (" + origin + ")") + ": " + why);
  }

  void unknown(const std::string& shown, std::string_view name, const std::string& origin,
               std::string_view prefix) {
    std::vector<std::string> names;
    for (const config_entry& one : of.entries_) names.push_back(one.name);
    if (!prefix.empty()) names.insert(names.end(), {"config", "help", "print-config"});
    const std::string near = nearest_name(name, names);
    mistakes.push_back(shown + (origin.empty() ? "" : " (" + origin + ")") + ": there is no such option" +
                       (near.empty() ? "" : "; did you mean " + std::string(prefix) + near + "?"));
  }

  void set(std::size_t at, std::string_view text, const std::string& shown, const std::string& origin) {
    const config_entry& one = of.entries_[at];
    const std::string why = one.set(settings, text);
    if (why.empty()) {
      origins[at] = origin.empty() ? shown : origin;
      return;
    }
    // What a parser says may quote the value.
    const bool kept_back = hides(one, text);
    wrong(shown, std::string(text), kept_back, origin,
          !kept_back   ? why
          : one.secret ? "is refused; expected " + one.form
                       : "is refused, and not repeated, as a password may be in it; expected " + one.form +
                             (one.is_url ? " without a user" : ""));
  }

  struct given {
    std::size_t entry;
    std::string value;
  };
  // What the command line says, to be set last. False: it asks for help.
  bool read_arguments(const std::vector<std::string>& arguments, std::vector<given>& into) {
    for (std::size_t i = 0; i != arguments.size(); ++i) {
      const std::string& word = arguments[i];
      if (word == "--help" || word == "-h") return false;
      if (!word.starts_with("--") || word.size() == 2) {
        mistakes.push_back("'" + word + "' (command line): expected an option, such as --help");
        continue;
      }
      const std::size_t equals = word.find('=');
      const std::string option = word.substr(0, equals);
      const std::string name = option.substr(2);
      if (name == "print-config" && equals == std::string::npos) {
        print = true;
        continue;
      }
      const std::size_t at = find(name);
      const bool known = at != of.entries_.size();
      if (!known && name != "config") {
        unknown(option, name, "command line", "--");
        // What follows it is most likely its value.
        if (equals == std::string::npos && i + 1 != arguments.size() && !arguments[i + 1].starts_with("--"))
          ++i;
        continue;
      }
      std::string value;
      if (equals != std::string::npos) {
        value = word.substr(equals + 1);
      } else if (known && of.entries_[at].kind == config_kind::boolean &&
                 (i + 1 == arguments.size() || (arguments[i + 1] != "true" && arguments[i + 1] != "false"))) {
        value = "true";
      } else if (i + 1 != arguments.size() && !arguments[i + 1].starts_with("--")) {
        value = arguments[++i];
      } else {
        mistakes.push_back(option + " (command line): expected a value, " +
                           (known ? of.entries_[at].form : "FILE") + ", behind it");
        continue;
      }
      const bool twice =
          known ? std::any_of(into.begin(), into.end(), [at](const given& g) { return g.entry == at; })
                : file_origin == "--config";
      if (twice) {
        mistakes.push_back(option + " (command line): is given twice");
      } else if (known) {
        into.push_back({at, std::move(value)});
      } else {
        file = std::move(value);
        file_origin = "--config";
      }
    }
    return true;
  }

  void read_file() {
    std::vector<config_key> keys;
    std::string trouble;
    if (!read_config_file(file, keys, trouble)) return wrong(file_origin, file, false, "", trouble);
    for (const config_key& key : keys) {
      const std::size_t at = find(key.name);
      if (at == of.entries_.size()) {
        unknown("'" + key.name + "'", key.name, key.origin, "");
      } else if (!key.usable || key.kind != of.entries_[at].kind) {
        wrong(key.name, key.value, hides(of.entries_[at], key.value) || !key.usable, key.origin,
              kind_text(of.entries_[at].kind));
      } else {
        set(at, key.value, key.name, key.origin);
      }
    }
  }

  [[nodiscard]] std::string values() const {
    std::vector<std::string> lines;
    std::size_t width = 0;
    // Keys with dots may stand in the table at the top: as dotted keys.
    for (std::size_t i = 0; i != of.entries_.size(); ++i) {
      const config_entry& one = of.entries_[i];
      const std::string value = one.show(settings);
      const bool bare = one.kind != config_kind::text;
      // What cannot be read again as it stands is a comment.
      const bool hidden = one.secret && !value.empty();
      const std::string shown = hidden ? "***" : bare ? value : quoted(value);
      lines.push_back((hidden || shown.empty() ? "# " : "") + one.name + " = " +
                      (shown.empty() ? "none" : shown));
      width = std::max(width, std::min<std::size_t>(lines.back().size(), 60));
    }
    std::string out;
    for (std::size_t i = 0; i != lines.size(); ++i) {
      out += lines[i] + std::string(width - std::min(width, lines[i].size()), ' ') + "  # " +
             (origins[i].empty() ? "default" : origins[i]) + '\n';
    }
    return out;
  }
};

config_reading config_core::read(
    const std::vector<std::string>& arguments,
    const std::function<std::optional<std::string>(const std::string&)>& environment, void* settings) const {
  run now{.of = *this, .settings = settings};
  now.origins.resize(entries_.size());
  const auto from_environment = [&environment](const std::string& name) -> std::optional<std::string> {
    return environment ? environment(name) : std::nullopt;
  };
  std::vector<run::given> given;
  if (!now.read_arguments(arguments, given)) return {.text = help()};
  if (now.file_origin.empty()) {
    if (auto named = from_environment(variable("config")); named && !named->empty()) {
      now.file = std::move(*named);
      now.file_origin = variable("config");
    }
  }
  if (!now.file_origin.empty()) now.read_file();
  for (std::size_t i = 0; i != entries_.size(); ++i) {
    const std::string name = variable(entries_[i].name);
    if (const auto value = from_environment(name)) now.set(i, *value, name, "");
  }
  for (const run::given& one : given) now.set(one.entry, one.value, "--" + entries_[one.entry].name, "");

  if (!now.mistakes.empty()) {
    std::string text;
    for (const std::string& one : now.mistakes) text += about_.program + ": " + one + '\n';
    return {.text = text + "Try " + about_.program + " --help.\n", .code = 2};
  }
  if (now.print) return {.text = now.values()};
  return {.goes_on = true};
}

}  // namespace detail

}  // namespace belay::service

// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a program is told: declared once, read from defaults, a TOML file, the environment and the command line.

#include <belay/core/error.hpp>
#include <belay/service/detail/config_core.hpp>
#include <belay/service/detail/config_values.hpp>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace belay::service {

/// A number of bytes: `64KiB` in a configuration.
using detail::byte_size;

struct config_options {
  /// The program, in messages and in the help; and, in capitals and with an underscore, the prefix of the environment variables.
  std::string program = {};
  /// Shown above and below the options by `--help`.
  std::string description = {};
  std::string footer = {};
};

/// More about one option.
template <class T>
struct config_value {
  /// The range of an integer, a duration or a size.
  std::optional<T> least{};
  std::optional<T> most{};
  /// The words for an enumeration, or the only ones of another type: `{{"json", log_format::json}, ...}`.
  std::vector<std::pair<std::string, T>> choices{};
  /// Never shown: not by `--help`, `--print-config`, nor in a message.
  bool secret = false;
  /// How the value is shown by `--help` and `--print-config`, such as a URL without its password; empty: as it is. With this, messages do
  /// not repeat a value that is refused.
  std::function<std::string(const T&)> show{};
  /// What stands for the value in the help and in messages; empty: by its type. `ADDRESS:PORT`
  std::string form{};
  /// What is wrong with a value, such as "expected sqlite:PATH"; empty: nothing.
  std::function<std::string(const T&)> check{};
};

/// Where the arguments and variables come from; for tests.
struct config_sources {
  std::vector<std::string> arguments{};  ///< without the name of the program
  std::function<std::optional<std::string>(const std::string&)> environment{};

  /// Those of the process.
  [[nodiscard]] static config_sources of(int argc, const char* const* argv);
};

/// What `config::read` gives: the settings, or what to tell instead of running.
template <class Settings>
class config_result {
 public:
  explicit config_result(Settings read) : settings_(std::move(read)) {}
  config_result(std::string text, int code) : text_(std::move(text)), code_(code) {}

  explicit operator bool() const noexcept { return settings_.has_value(); }
  [[nodiscard]] Settings& operator*() noexcept { return *settings_; }
  [[nodiscard]] const Settings& operator*() const noexcept { return *settings_; }
  [[nodiscard]] Settings* operator->() noexcept { return &*settings_; }
  [[nodiscard]] const Settings* operator->() const noexcept { return &*settings_; }
  /// What `--help` or `--print-config` asked for, or the mistakes.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// 0 for what was asked for, 2 for mistakes.
  [[nodiscard]] int code() const noexcept { return code_; }
  /// Writes the text to stdout, or to stderr when it tells of mistakes, and gives `code`.
  [[nodiscard]] int finish() const { return detail::finish_config(text_, code_); }

 private:
  std::optional<Settings> settings_;
  std::string text_;
  int code_ = 0;
};

/// The options of a program, each bound to a member of a struct whose initial values are the defaults.
///
///     struct settings {
///       io::endpoint listen{"127.0.0.1", 8080};
///       duration grace = 10s;
///       std::string token;
///     };
///     service::config<settings> options({.program = "shop"});
///     options.add("listen", &settings::listen, "where to serve");
///     options.add("grace", &settings::grace, "how long requests may take to finish", {.most = 1h});
///     options.add("token", &settings::token, "for the upstream", {.secret = true});
///     auto told = options.read(argc, argv);
///     if (!told) return told.finish();
///     return serve(*told);
///
/// A value comes from the default, else from the key of a TOML file (`grace = "10s"`; `http.limit` is `limit` in the table `http`), else from the
/// environment (`SHOP_GRACE`, `SHOP_HTTP_LIMIT`), else from the command line (`--grace 10s`, `--grace=10s`): the last one wins. The
/// file is named by `--config` or `SHOP_CONFIG`. A `bool` is `true` or `false`; on the command line `--name` alone is true.
///
/// Types: `std::string`, integers, `bool`, `duration` (`500ms`, `10s`, `1h30m`), `byte_size` (`64KiB`), `io::endpoint`, `http::url`, with
///        `choices` any other; `std::optional` of these is empty unless it is given, and may be given empty.
/// Errors of `add`: `misuse_error` for a name that is empty, doubled, reserved (`help`, `config`, `print-config`) or of other characters than a-z, 0-9,
///        - and dots; for a default out of its range, or that is none of its `choices`.
template <class Settings>
class config {
 public:
  explicit config(config_options about)
      : core_({std::move(about.program), std::move(about.description), std::move(about.footer)}) {}

  template <class T>
  config& add(std::string name, T Settings::* member, std::string description,
              config_value<detail::value_inside<T>> how = {}) {
    using value = detail::value_inside<T>;
    static_assert(detail::is_known_value<value> || detail::is_word_value<value>,
                  "config::add: there is no way to read a value of this type");
    detail::config_entry entry;
    entry.name = std::move(name);
    entry.description = std::move(description);
    entry.form = detail::form_of<value>(how);
    entry.kind = detail::kind_of<value>(how);
    entry.secret = how.secret;
    entry.veiled = static_cast<bool>(how.show);
    entry.is_url = std::is_same_v<value, http::url>;
    entry.show = [member, how](const void* of) {
      return detail::shown(static_cast<const Settings*>(of)->*member, how);
    };
    entry.set = [member, how](void* into, std::string_view text) {
      return detail::set_value(static_cast<Settings*>(into)->*member, text, how);
    };
    const Settings defaults{};
    core_.add(std::move(entry), &defaults, detail::trouble_of_default(defaults.*member, how));
    return *this;
  }

  /// Reads everything, and tells every mistake at once: the key, the value (never of a secret, nor of one with `show`, nor of
  /// a URL with a user in it), where it came from (file:line:column,
  /// variable, option) and what was expected. A key that nobody declared is a mistake, and the nearest one is suggested.
  /// `--help` shows the options with their defaults, `--print-config` the values, as TOML, with their origins.
  /// Errors: none; they are the result, with code 2.
  [[nodiscard]] config_result<Settings> read(const config_sources& from) const {
    Settings settings{};
    detail::config_reading how = core_.read(from.arguments, from.environment, &settings);
    if (how.goes_on) return config_result<Settings>(std::move(settings));
    return config_result<Settings>(std::move(how.text), how.code);
  }
  [[nodiscard]] config_result<Settings> read(int argc, const char* const* argv) const {
    return read(config_sources::of(argc, argv));
  }

 private:
  detail::config_core core_;
};

}  // namespace belay::service

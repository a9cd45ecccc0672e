// SPDX-License-Identifier: Apache-2.0
#pragma once
// The part of a configuration that does not know the struct: names, sources, messages.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace belay::service::detail {

// How a value is written in TOML, and whether the command line may leave it out.
enum class config_kind : unsigned char { text, integer, boolean };

struct config_entry {
  std::string name;
  std::string description;
  std::string form;  // "DURATION"
  config_kind kind = config_kind::text;
  bool secret = false;
  bool veiled = false;  // messages do not repeat what was given
  bool is_url = false;  // nor this, where it seems to have a user in it
  std::function<std::string(const void* of)> show;
  std::function<std::string(void* into, std::string_view text)> set;  // what is wrong, or nothing
};

struct config_about {
  std::string program;
  std::string description;
  std::string footer;
};

struct config_reading {
  bool goes_on = false;
  std::string text{};
  int code = 0;
};

class config_core {
 public:
  explicit config_core(config_about about);
  void add(config_entry entry, const void* defaults, const std::string& trouble_of_default);
  [[nodiscard]] config_reading read(
      const std::vector<std::string>& arguments,
      const std::function<std::optional<std::string>(const std::string&)>& environment, void* settings) const;

 private:
  struct run;
  [[nodiscard]] std::string help() const;
  [[nodiscard]] std::string variable(std::string_view name) const;

  config_about about_;
  std::vector<config_entry> entries_;
  std::vector<std::string> defaults_;  // as text, by entry
};

// A key of a file with its value as text, and where it stands.
struct config_key {
  std::string name;
  std::string value;
  config_kind kind = config_kind::text;
  bool usable = true;  // false: an array, a date, a fraction
  std::string origin;  // "shop.toml:3:1"
  unsigned line = 0;
  unsigned column = 0;
};
// In the order of the file. False: it cannot be read, and `trouble` says why.
[[nodiscard]] bool read_config_file(const std::string& path, std::vector<config_key>& into,
                                    std::string& trouble);

// The name that was probably meant; empty: none is near.
[[nodiscard]] std::string nearest_name(std::string_view to, const std::vector<std::string>& among);

[[nodiscard]] int finish_config(const std::string& text, int code);

}  // namespace belay::service::detail

// SPDX-License-Identifier: Apache-2.0
// A configuration file: TOML, flattened to dotted keys with their places.

#include <belay/service/detail/config_core.hpp>
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <tuple>

namespace belay::service::detail {

namespace {

std::string place(const std::string& path, const toml::source_position& at) {
  return path + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

void flatten(const std::string& path, const std::string& prefix, const toml::table& from,
             std::vector<config_key>& into) {
  for (const auto& [key, node] : from) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table()) {
      flatten(path, name + ".", *inner, into);
      continue;
    }
    const toml::source_position& at = key.source().begin;
    config_key found{
        .name = name, .value = {}, .origin = place(path, at), .line = at.line, .column = at.column};
    if (const auto* text = node.as_string()) {
      found.value = text->get();
    } else if (const auto* number = node.as_integer()) {
      found.value = std::to_string(number->get());
      found.kind = config_kind::integer;
    } else if (const auto* truth = node.as_boolean()) {
      found.value = truth->get() ? "true" : "false";
      found.kind = config_kind::boolean;
    } else {
      found.usable = false;
    }
    into.push_back(std::move(found));
  }
}

}  // namespace

bool read_config_file(const std::string& path, std::vector<config_key>& into, std::string& trouble) {
  struct closing {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, closing> file(std::fopen(path.c_str(), "rbe"));
  if (!file) {
    trouble = std::string("cannot be read: ") + std::strerror(errno);
    return false;
  }
  constexpr std::size_t most = 1024 * 1024;
  std::string text(most + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0 || text.size() > most) {
    trouble = text.size() > most ? "is larger than 1 MiB" : "cannot be read";
    return false;
  }
  try {
    flatten(path, "", toml::parse(text, path), into);
    std::sort(into.begin(), into.end(), [](const config_key& a, const config_key& b) {
      return std::tie(a.line, a.column) < std::tie(b.line, b.column);
    });
    return true;
  } catch (const toml::parse_error& wrong) {
    trouble = place(path, wrong.source().begin) + ": " + std::string(wrong.description());
    return false;
  }
}

}  // namespace belay::service::detail

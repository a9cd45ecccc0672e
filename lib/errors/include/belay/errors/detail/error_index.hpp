// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which of several numbered rules is meant for a failure.

#include <belay/core/error.hpp>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

namespace belay::detail {

// How a type is recognised: as `catch` does it.
struct type_probe {
  const std::type_info* type;
  bool (*matches)(const std::exception_ptr&) noexcept;
  // A pointer to a derived type is caught as a pointer to its base: so types can be put in order without an object of them.
  bool (*matches_pointer)(const std::exception_ptr&) noexcept;
  std::exception_ptr pointer;

  template <class E>
  static type_probe of() {
    return {&typeid(E),
            [](const std::exception_ptr& what) noexcept { return exception_as<E>(what) != nullptr; },
            [](const std::exception_ptr& what) noexcept { return exception_as<E*>(what) != nullptr; },
            std::make_exception_ptr(static_cast<E*>(nullptr))};
  }
};

// The error itself first, then what is attached to it, then what is attached to that; not what was replaced. Without marking anything
// observed.
[[nodiscard]] std::vector<failure> itself_and_attached(const failure& what);

class error_index {
 public:
  using rule = std::size_t;
  struct found {
    rule which;
    failure leaf;
  };
  using status_reader = std::function<std::optional<int>(const std::exception_ptr&)>;

  // A second rule for the same replaces the first.
  void add_type(type_probe type, rule which);
  void add_status(int status, rule which);
  void add_code(std::string code, rule which);
  void add_kind(error_kind kind, rule which);
  void set_otherwise(rule which) noexcept { otherwise_ = which; }
  void add_status_reader(status_reader read) { readers_.push_back(std::move(read)); }

  [[nodiscard]] std::optional<found> find(const failure& what) const;

 private:
  [[nodiscard]] std::optional<rule> by_name(const std::exception_ptr& what) const;
  [[nodiscard]] std::optional<rule> by_status(const std::exception_ptr& what) const;

  struct type_rule {
    type_probe type;
    rule which;
  };
  std::vector<type_rule> types_;  // the more derived before their bases
  std::vector<std::pair<int, rule>> statuses_;
  std::vector<std::pair<std::string, rule>> codes_;
  std::vector<std::pair<error_kind, rule>> kinds_;
  std::optional<rule> otherwise_;
  std::vector<status_reader> readers_;
};

}  // namespace belay::detail

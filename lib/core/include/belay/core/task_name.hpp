// SPDX-License-Identifier: Apache-2.0
#pragma once
// The name of a task.

#include <cstddef>

namespace belay {

/// A literal, kept as it stands in the program: a task carries the pointer, nothing is copied, and nothing can dangle. Text made at run
/// time does not compile here; what tells one of many from the others is its number (`child::named("worker", 3)`).
class task_name {
 public:
  template <std::size_t N>
  consteval task_name(const char (&literal)[N]) : text_(literal) {  // NOLINT(google-explicit-constructor)
    if (N < 2) throw "a task's name is not empty";
  }
  [[nodiscard]] constexpr const char* text() const noexcept { return text_; }

 private:
  const char* text_;
};

}  // namespace belay

// SPDX-License-Identifier: Apache-2.0
#pragma once
// A table from errors to values of one type: statuses, texts, handlers.

#include <belay/errors/detail/error_index.hpp>
#include <deque>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace belay {

/// Maps failures to values, whatever order the rules were added in.
///
///     error_table<int> status;
///     status.on<user_not_found>(404);
///     status.on_kind(error_kind::timed_out, 504);
///     auto found = status.find(current_failure());      // found->value, found->leaf
///
/// *Which error decides.* The error itself is asked first, then what is attached to it, in order, then what is attached to those; what
/// it replaced is not. The first of them that a status, a type or a code matches decides; if none does, the first whose kind matches;
/// then `otherwise`.
///
/// *Which rule decides*, for one error: its status, then its type (the most derived one; types are recognised as `catch` does, so an
/// ambiguous or private base does not match; of two bases that do not derive from each other the one added first), then its code, then
/// its kind. Codes and kinds of foreign exceptions are those of `classify`.
///
/// *Fatal errors* (`is_fatal`) are matched by status, type and code only: neither a rule for their kind nor `otherwise` takes them.
///
/// A second rule for the same status, type, code or kind replaces the first. Nothing is marked observed by `find`.
template <class Value>
class error_table {
 public:
  struct match {
    const Value& value;  // lives as long as the table
    failure leaf;        // the error that decided
  };

  template <class E>
  void on(Value value) {
    static_assert(std::is_same_v<E, std::decay_t<E>>,
                  "name the type of the error itself, without const or reference");
    index_.add_type(detail::type_probe::of<E>(), keep(std::move(value)));
  }
  void on_status(int status, Value value) { index_.add_status(status, keep(std::move(value))); }
  /// Errors: `misuse_error` for an empty code.
  void on_code(std::string code, Value value) {
    if (code.empty()) throw misuse_error("error_table::on_code: the code is empty");
    index_.add_code(std::move(code), keep(std::move(value)));
  }
  void on_kind(error_kind kind, Value value) { index_.add_kind(kind, keep(std::move(value))); }
  void otherwise(Value value) { index_.set_otherwise(keep(std::move(value))); }

  /// Errors of type `E` have a status: `read(const E&)` gives it. (This layer knows no HTTP.) If it throws, that is reported to the failure
  /// sink, and the error has no status.
  template <class E, class Read>
  void status_of(Read read) {
    index_.add_status_reader([read = std::move(read)](const std::exception_ptr& what) -> std::optional<int> {
      const E* found = detail::exception_as<E>(what);
      return found != nullptr ? std::optional<int>(read(*found)) : std::nullopt;
    });
  }

  [[nodiscard]] std::optional<match> find(const failure& what) const {
    const auto found = index_.find(what);
    if (!found) return std::nullopt;
    return match{values_[found->which], found->leaf};
  }

 private:
  std::size_t keep(Value value) {
    values_.push_back(std::move(value));
    return values_.size() - 1;
  }
  detail::error_index index_;
  std::deque<Value> values_;  // a replaced one stays: somebody may be using it
};

}  // namespace belay

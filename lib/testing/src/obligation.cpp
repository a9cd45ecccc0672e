// SPDX-License-Identifier: Apache-2.0
// Obligations and the book in which they stand.

#include <belay/testing/obligation.hpp>

#include <algorithm>
#include <utility>

namespace belay::testing {

obligation obligations::take(std::string what, std::source_location where) {
  auto made = std::make_unique<entry>(entry{std::move(what), where});
  held_.push_back(made.get());
  return {shared_from_this(), std::move(made)};
}

std::vector<obligations::entry> obligations::held() const {
  std::vector<entry> copies;
  copies.reserve(held_.size());
  for (const entry* one : held_) copies.push_back(*one);
  return copies;
}

obligation::obligation(std::shared_ptr<obligations> book, std::unique_ptr<obligations::entry> what) noexcept
    : book_(std::move(book)), entry_(std::move(what)) {}

obligation::obligation(obligation&& other) noexcept
    : book_(std::move(other.book_)), entry_(std::move(other.entry_)) {}

obligation& obligation::operator=(obligation&& other) noexcept {
  std::swap(book_, other.book_);
  std::swap(entry_, other.entry_);
  return *this;
}

obligation::~obligation() {
  if (entry_ == nullptr) return;
  book_->dropped_.push_back(*entry_);
  forget();
}

void obligation::met() noexcept {
  if (entry_ != nullptr) forget();
}

void obligation::forget() noexcept {
  std::erase(book_->held_, entry_.get());
  entry_.reset();
  book_.reset();
}

}  // namespace belay::testing

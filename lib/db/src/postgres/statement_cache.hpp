// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which statements the server has prepared on a connection.

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace belay::db::postgres::detail {

// Statements that the server has prepared on this connection, the latest used first.
class statement_cache {
 public:
  explicit statement_cache(std::size_t limit) : limit_(limit) {}
  [[nodiscard]] bool full() const noexcept { return all_.size() >= limit_; }
  // Whether the oldest must go to make room for `more`.
  [[nodiscard]] bool too_full_for(std::size_t more) const noexcept {
    return !all_.empty() && all_.size() + more > limit_;
  }
  [[nodiscard]] bool has(std::string_view sql) const { return index_.contains(sql); }

  // Empty: not there.
  std::string find(std::string_view sql) {
    const auto found = index_.find(sql);
    if (found == index_.end()) return {};
    all_.splice(all_.begin(), all_, found->second);
    return found->second->name;
  }
  std::string add(std::string_view sql) {
    all_.push_front({std::string(sql), "belay" + std::to_string(++made_)});
    index_.emplace(all_.front().sql, all_.begin());
    return all_.front().name;
  }
  // The name of the one unused for longest, which is forgotten.
  std::string drop_oldest() {
    std::string name = std::move(all_.back().name);
    index_.erase(all_.back().sql);
    all_.pop_back();
    return name;
  }
  void forget(std::string_view sql) {
    const auto found = index_.find(sql);
    if (found == index_.end()) return;
    const auto entry = found->second;
    index_.erase(found);
    all_.erase(entry);
  }

 private:
  struct one {
    std::string sql;
    std::string name;
  };
  const std::size_t limit_;
  std::uint64_t made_ = 0;
  std::list<one> all_;
  std::unordered_map<std::string_view, std::list<one>::iterator> index_;
};

}  // namespace belay::db::postgres::detail

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The protocol of Redis (RESP2), by hiredis: commands to bytes, bytes to replies.

#include <belay/db/redis/reply.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct redisReader;

namespace belay::db::redis::detail {

[[nodiscard]] std::string encode(std::span<const std::string> words);

// Takes bytes as they come in, gives replies. After an error it is of no use.
class reply_parser {
 public:
  explicit reply_parser(std::size_t largest);

  // Errors: protocol_error, std::bad_alloc.
  void feed(std::string_view bytes);
  // The next one that is complete. Errors: likewise.
  [[nodiscard]] std::optional<reply> next();

 private:
  struct free_reader {
    void operator()(redisReader* reader) const noexcept;
  };
  std::unique_ptr<redisReader, free_reader> reader_;
  std::size_t largest_;
  std::size_t unfinished_ = 0;  // bytes since the last reply that was complete
};

}  // namespace belay::db::redis::detail

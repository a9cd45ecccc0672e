// SPDX-License-Identifier: Apache-2.0
// The one file that sees hiredis.

#include "protocol.hpp"

#include <belay/db/redis/error.hpp>
#include <hiredis/hiredis.h>
#include <new>

namespace belay::db::redis {

std::string_view to_string(reply_type type) noexcept {
  switch (type) {
    case reply_type::nil: return "nil";
    case reply_type::integer: return "integer";
    case reply_type::text: return "text";
    case reply_type::status: return "status";
    case reply_type::error: return "error";
    case reply_type::array: break;
  }
  return "array";
}

namespace {
[[noreturn]] void wrong_type(std::string_view wanted, reply_type is) {
  throw type_error("a reply of Redis is of type " + std::string(to_string(is)) + ", not " +
                   std::string(wanted));
}
}  // namespace

std::int64_t reply::to_integer() const {
  if (type != reply_type::integer) wrong_type("integer", type);
  return integer;
}
const std::string& reply::to_text() const {
  if (type != reply_type::text && type != reply_type::status) wrong_type("text", type);
  return text;
}
const reply& reply::element(std::size_t index) const {
  if (type != reply_type::array) wrong_type("array", type);
  if (index >= elements.size())
    throw type_error("a reply of Redis has " + std::to_string(elements.size()) +
                     " elements; there is no number " + std::to_string(index));
  return elements[index];
}

namespace detail {

namespace {

// Called by C code: nothing may be thrown. Null means that there is no memory.
// Elements are added one by one, so that the length that is announced costs nothing. While one is being filled, none is added beside it.
reply* place(const redisReadTask* task) noexcept {
  try {
    if (task->parent == nullptr) return new reply;
    return &static_cast<reply*>(task->parent->obj)->elements.emplace_back();
  } catch (...) {
    return nullptr;
  }
}

void* make_text(const redisReadTask* task, char* text, std::size_t length) noexcept {
  reply* made = place(task);
  if (made == nullptr) return nullptr;
  made->type = task->type == REDIS_REPLY_ERROR    ? reply_type::error
               : task->type == REDIS_REPLY_STATUS ? reply_type::status
                                                  : reply_type::text;
  try {
    made->text.assign(text, length);
  } catch (...) {
    if (task->parent == nullptr) delete made;
    return nullptr;
  }
  return made;
}
void* make_array(const redisReadTask* task, int) noexcept {
  reply* made = place(task);
  if (made != nullptr) made->type = reply_type::array;
  return made;
}
void* make_integer(const redisReadTask* task, long long value) noexcept {
  reply* made = place(task);
  if (made == nullptr) return nullptr;
  made->type = reply_type::integer;
  made->integer = value;
  return made;
}
void* make_nil(const redisReadTask* task) noexcept { return place(task); }
void free_root(void* root) noexcept { delete static_cast<reply*>(root); }

redisReplyObjectFunctions makers{&make_text, &make_array, &make_integer, &make_nil, &free_root};

}  // namespace

constexpr std::size_t largest_command = std::size_t{512} * 1024 * 1024;

std::string encode(std::span<const std::string> words) {
  std::vector<const char*> starts;
  std::vector<std::size_t> lengths;
  std::size_t total = 0;
  for (const std::string& word : words) {
    total += word.size();
    // Redis takes no larger word (proto-max-bulk-len), and hiredis counts in `int`.
    if (word.size() > largest_command || total > largest_command)
      throw misuse_error("redis: " + words.front().substr(0, 32) +
                         " with its arguments is larger than 512 MiB");
    starts.push_back(word.data());
    lengths.push_back(word.size());
  }
  char* bytes = nullptr;
  const int length =
      redisFormatCommandArgv(&bytes, static_cast<int>(words.size()), starts.data(), lengths.data());
  if (length < 0) throw std::bad_alloc();
  struct end {
    char* what;
    ~end() { redisFreeCommand(what); }
  } const at_end{bytes};
  return {bytes, static_cast<std::size_t>(length)};
}

void reply_parser::free_reader::operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }

reply_parser::reply_parser(std::size_t largest)
    : reader_(redisReaderCreateWithFunctions(&makers)), largest_(largest) {
  if (reader_ == nullptr) throw std::bad_alloc();
}

void reply_parser::feed(std::string_view bytes) {
  unfinished_ += bytes.size();
  if (redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK) throw std::bad_alloc();
}

std::optional<reply> reply_parser::next() {
  void* root = nullptr;
  if (redisReaderGetReply(reader_.get(), &root) != REDIS_OK) {
    if (reader_->err == REDIS_ERR_OOM) throw std::bad_alloc();
    throw protocol_error(error_kind::data_format, "redis_protocol",
                         std::string("what came in is not what Redis sends: ") + reader_->errstr);
  }
  if (root == nullptr) {
    if (unfinished_ > largest_) {
      throw protocol_error(error_kind::data_format, "redis_reply_too_large",
                           "a reply is larger than largest_reply (" + std::to_string(largest_) + " bytes)");
    }
    return std::nullopt;
  }
  const std::unique_ptr<reply> whole(static_cast<reply*>(root));
  // What has been fed and not been used yet belongs to the next one.
  unfinished_ = reader_->len - reader_->pos;
  return std::move(*whole);
}

}  // namespace detail
}  // namespace belay::db::redis

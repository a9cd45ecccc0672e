// SPDX-License-Identifier: Apache-2.0
// TLS between a program and any transport: OpenSSL works on memory only, and what it makes goes through the stream below.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <exception>
#include <limits>
#include <utility>

#include "tls_private.hpp"
#include <belay/core/mutex.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

namespace belay::io::tls {

namespace {

constexpr std::size_t plain_at_once = 64 * 1024;  // encrypted before it is handed on: four records
constexpr std::size_t first_buffer = 4 * 1024;    // for what comes in; an idle connection has no more
constexpr std::size_t full_buffer = 16 * 1024;
constexpr std::size_t large_write = 16 * 1024;  // its memory is not kept for the next one

// As the system says it of a socket.
[[noreturn]] void fail_as_system(std::string_view what, const endpoint& with, std::errc reason) {
  throw_network_error(what, with, std::make_error_code(reason));
}

bool is_address(const std::string& host) noexcept {
  if (host.find('\0') != std::string::npos) return false;
  ASN1_OCTET_STRING* const found = a2i_IPADDRESS(host.c_str());
  ASN1_OCTET_STRING_free(found);
  ERR_clear_error();
  return found != nullptr;
}

// The states of a stream, told by four members:
//
//   not ready          the handshake is not over. Whoever reads or writes makes it, one at a time (`shaking_`). One that was cancelled while
//                      it waited to read is taken up by the next.
//   ready              the handshake is over.
//   refused_           TLS has failed: every further read and write says so again, nothing more is sent but the alert.
//   cut_               a write below was cut off, by a cancellation or an error: what the other side has got may end within a record, so
//                      that nothing can be sent any more, close_notify least of all.
//
// `to_send_` is what OpenSSL has made and nobody has sent. Only one sends at a time (`sending_`). A reader never waits for that: what it has to
// send (an alert, the answer to a key update) is sent as far as there is room, and otherwise goes out with the next write, before its
// data, which is what RFC 8446 section 4.6.3 asks for. It must go on to read, or two peers that both write much would wait for each other.
class tls_stream final : public stream_transport {
 public:
  tls_stream(tcp_stream over, context with, std::string host, duration limit,
             std::shared_ptr<handshake_statistics> counts, std::source_location where)
      : below_(std::move(over)),
        context_(std::move(with)),
        host_(std::move(host)),
        limit_(limit),
        counts_(std::move(counts)),
        where_(where) {
    ERR_clear_error();
    ssl_.reset(SSL_new(context_.get().ssl.get()));
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    if (ssl_ == nullptr || in == nullptr || out == nullptr) {
      BIO_free(in);
      BIO_free(out);
      ERR_clear_error();
      throw std::bad_alloc();
    }
    SSL_set_bio(ssl_.get(), in, out);  // owned by ssl_ now
    if (context_.get().side == role::server) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
      name_the_host();
    }
  }
  ~tls_stream() override {
    count_end(&handshake_statistics::failed);
    if (ended_ && !below_ended_ && below_.is_open()) send_now();  // the last chance of a close_notify
    ERR_clear_error();
  }

  task<> shake_hands() {
    const mutex_guard only_one = co_await shaking_.lock();
    if (ready_ || refused_) co_return co_await check_refused();
    if (left_) fail_left();
    if (limit_ == duration::max()) co_return co_await negotiate();
    if (!(co_await move_on_after(limit_, negotiate())).has_value()) {
      if (counts_ != nullptr) ++counts_->timed_out;
      count_end(&handshake_statistics::failed);
      refused_.emplace(
          error_kind::timed_out, "handshake_timed_out",
          what() + ": not over within " +
              std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(limit_).count()) +
              " ms (handshake_timeout)",
          where_);
      co_return co_await check_refused();
    }
  }

  task<std::size_t> read_some(std::span<char> into) override {
    if (!ready_) co_await shake_hands();
    if (refused_) co_await check_refused();
    // What is there is given without waiting, but a cancellation must have its place. Only one that was requested: a checkpoint also lets
    // a limit act that has passed just now, and who looks at what is there with a short limit would never see it. The turn is given up
    // by the reads below.
    if (cancel_requested()) co_await checkpoint();
    if (into.empty()) co_return 0;
    while (true) {
      if (!below_.is_open()) fail_as_system("read from", peer(), std::errc::bad_file_descriptor);
      if (ended_ && !below_ended_) co_await finish_ending();
      std::size_t count = 0;
      ERR_clear_error();
      const int how = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
      const int why = how == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), how);
      if (why == SSL_ERROR_NONE) co_return count;
      if (why == SSL_ERROR_ZERO_RETURN) {
        ERR_clear_error();
        if (std::exchange(end_told_, true)) co_await yield();  // the first time it is news, as data is
        co_return 0;
      }
      if (why != SSL_ERROR_WANT_READ) {
        refuse_with(make_tls_error(*ssl_, "TLS with " + peer().to_string(), host_, side(), where_));
        co_await check_refused();
      }
      send_now();
      if (!co_await fill()) fail_truncated();
    }
  }

  task<> write(std::string_view data) override {
    if (!ready_) co_await shake_hands();
    if (refused_) co_await check_refused();
    if (!below_.is_open()) fail_as_system("write to", peer(), std::errc::bad_file_descriptor);
    if (ended_) fail_as_system("write to", peer(), std::errc::broken_pipe);
    if (cut_) fail_cut_off();
    const bool large = data.size() > large_write;
    while (!data.empty()) {
      std::size_t taken = 0;
      ERR_clear_error();
      const int how = SSL_write_ex(ssl_.get(), data.data(), std::min(data.size(), plain_at_once), &taken);
      if (how != 1) {
        refuse_with(make_tls_error(*ssl_, "TLS with " + peer().to_string(), host_, side(), where_));
        co_await check_refused();
      }
      data.remove_prefix(taken);
      co_await send();
    }
    if (large) let_memory_go();
  }

  void end_writing() noexcept override {
    if (std::exchange(ended_, true)) return;
    if (say_goodbye() && !to_send_.empty()) return;  // the next read goes on with it
    below_ended_ = true;
    below_.end_writing();
  }

  void close() noexcept override {
    if (below_.is_open() && !below_ended_) {
      if (std::exchange(ended_, true)) {
        send_now();
      } else {
        static_cast<void>(say_goodbye());
      }
    }
    below_.close();
  }

  bool is_open() const noexcept override { return below_.is_open(); }
  const endpoint& peer() const noexcept override { return below_.peer(); }

  [[nodiscard]] std::optional<session> describe() const {
    if (!ready_) return std::nullopt;
    session out{.protocol = SSL_get_version(ssl_.get()), .cipher = SSL_get_cipher_name(ssl_.get())};
    const unsigned char* chosen = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl_.get(), &chosen, &length);
    if (chosen != nullptr) out.application.assign(reinterpret_cast<const char*>(chosen), length);
    if (X509* shown = SSL_get0_peer_certificate(ssl_.get())) {
      const std::unique_ptr<BIO, freed_by<&BIO_free>> text(BIO_new(BIO_s_mem()));
      char* from = nullptr;
      if (text != nullptr &&
          X509_NAME_print_ex(text.get(), X509_get_subject_name(shown), 0, XN_FLAG_RFC2253) >= 0) {
        const long size = BIO_get_mem_data(text.get(), &from);
        out.peer.assign(from, static_cast<std::size_t>(size));
      }
    }
    ERR_clear_error();
    return out;
  }

 private:
  // While a write below is under way. Ends it as cut off unless it is told otherwise.
  class sending {
   public:
    explicit sending(tls_stream& of) noexcept : of_(of) { of_.sending_ = true; }
    sending(const sending&) = delete;
    sending& operator=(const sending&) = delete;
    ~sending() {
      of_.sending_ = false;
      if (!done_) of_.cut_ = true;
    }
    void done() noexcept { done_ = true; }

   private:
    tls_stream& of_;
    bool done_ = false;
  };

  [[nodiscard]] role side() const noexcept { return context_.get().side; }
  [[nodiscard]] std::string what() const { return "TLS handshake with " + peer().to_string(); }

  void name_the_host() {
    const bool address = is_address(host_);
    if (!address && !host_.empty()) SSL_set_tlsext_host_name(ssl_.get(), host_.c_str());
    if (!context_.get().verifies) return;
    X509_VERIFY_PARAM* rules = SSL_get0_param(ssl_.get());
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(rules, host_.c_str())
                            : X509_VERIFY_PARAM_set1_host(rules, host_.c_str(), host_.size());
    if (set != 1) {
      ERR_clear_error();
      std::ranges::replace_if(host_, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
      throw misuse_error("tls::connect: '" + host_ + "' cannot be the name of a host", where_);
    }
  }

  // Once for each connection: a handshake that its reader gave up is under way until another takes it up, or the connection is gone.
  void count_begin() noexcept {
    if (counts_ == nullptr || std::exchange(counted_, true)) return;
    counting_ = true;
    ++counts_->under_way;
  }
  void count_end(std::uint64_t handshake_statistics::* as) noexcept {
    if (!std::exchange(counting_, false)) return;
    --counts_->under_way;
    ++((*counts_).*as);
  }

  task<> negotiate() {
    count_begin();
    try {
      co_await shake();
    } catch (...) {  // not by a cancellation, after which it may be taken up
      count_end(&handshake_statistics::failed);
      throw;
    }
    ready_ = true;
    count_end(&handshake_statistics::succeeded);
  }

  task<> shake() {
    while (true) {
      if (cut_) fail_cut_off();
      ERR_clear_error();
      const int how = SSL_do_handshake(ssl_.get());
      const int why = how == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), how);
      if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ) {
        refuse_with(make_tls_error(*ssl_, what(), host_, side(), where_));
        co_await check_refused();
      }
      co_await send();
      if (why == SSL_ERROR_NONE) break;
      if (!co_await fill()) {
        left_ = true;
        fail_left();
      }
    }
  }

  [[noreturn]] void fail_left() const {
    throw disconnected_error(what() + ": the other side ended the connection instead",
                             std::make_error_code(std::errc::connection_reset), where_);
  }

  [[noreturn]] void fail_truncated() const {
    throw disconnected_error(
        "read from " + peer().to_string() +
            ": the connection ended without TLS's close_notify: what came may be cut off",
        std::make_error_code(std::errc::connection_reset), where_);
  }

  [[noreturn]] void fail_cut_off() const {
    throw disconnected_error(
        "write to " + peer().to_string() + ": an earlier write was cut off: nothing more can be sent",
        std::make_error_code(std::errc::broken_pipe), where_);
  }

  // Tells the other side why, as far as there is room.
  void refuse_with(tls_error why) {
    refused_ = std::move(why);
    send_now();
  }
  task<> check_refused() {
    if (refused_) co_await fail(*refused_);
  }

  // Encrypted bytes from below into OpenSSL; false at their end.
  task<bool> fill() {
    if (in_.empty()) in_.resize(first_buffer);
    const std::size_t count = co_await below_.read_some(in_);
    if (count == 0) co_return false;
    if (BIO_write(SSL_get_rbio(ssl_.get()), in_.data(), static_cast<int>(count)) != static_cast<int>(count))
      throw std::bad_alloc();
    if (count == in_.size() && count < full_buffer) {
      in_.resize(full_buffer);
    } else if (count < first_buffer && in_.size() > first_buffer) {
      in_ = std::vector<char>(first_buffer);
    }
    co_return true;
  }

  // What OpenSSL has made, behind what is still there.
  void collect() {
    BIO* from = SSL_get_wbio(ssl_.get());
    const std::size_t more = BIO_ctrl_pending(from);
    if (more == 0) return;
    const std::size_t before = to_send_.size();
    to_send_.resize(before + more);
    const int got = BIO_read(from, to_send_.data() + before, static_cast<int>(more));
    to_send_.resize(before + static_cast<std::size_t>(std::max(got, 0)));
  }

  // All of it, waiting for room.
  task<> send() {
    collect();
    while (!to_send_.empty()) {
      std::string bytes = std::exchange(to_send_, {});
      {
        sending under_way(*this);
        co_await below_.write(bytes);
        under_way.done();
      }
      bytes.clear();
      if (to_send_.empty()) to_send_ = std::move(bytes);  // its memory is used again
      collect();
    }
  }

  // After a large write: a connection may be idle for long now. OpenSSL's own buffer never shrinks, and is exchanged.
  void let_memory_go() noexcept {
    if (sending_ || !to_send_.empty() || BIO_ctrl_pending(SSL_get_wbio(ssl_.get())) != 0) return;
    std::string().swap(to_send_);
    if (BIO* const fresh = BIO_new(BIO_s_mem()); fresh != nullptr) SSL_set0_wbio(ssl_.get(), fresh);
    ERR_clear_error();
  }

  // What there is room for.
  void send_now() noexcept {
    if (sending_ || cut_) return;
    try {
      collect();
    } catch (const std::bad_alloc&) {
      return;  // it stays where it is
    }
    while (const std::size_t sent = below_.try_write(to_send_)) to_send_.erase(0, sent);
  }

  // close_notify, as far as there is room; false where there must be none.
  [[nodiscard]] bool say_goodbye() noexcept {
    if (!ready_ || refused_ || cut_) return false;
    if (sending_) {  // a write is cut off by this
      cut_ = true;
      return false;
    }
    ERR_clear_error();
    const bool said = SSL_shutdown(ssl_.get()) >= 0;
    ERR_clear_error();
    if (said) send_now();
    return said;
  }

  // There was no room for all of close_notify.
  task<> finish_ending() {
    if (!cut_) co_await send();
    below_ended_ = true;
    below_.end_writing();
  }

  tcp_stream below_;
  context context_;
  ssl_ptr ssl_;
  std::string host_;
  duration limit_;  // of the handshake
  std::shared_ptr<handshake_statistics> counts_;
  std::source_location where_;
  mutex shaking_{"the TLS handshake"};
  std::vector<char> in_;
  std::string to_send_;
  std::optional<tls_error> refused_;
  bool ready_ = false;
  bool left_ = false;      // the other side, during the handshake
  bool counted_ = false;   // the handshake, as under way at least
  bool counting_ = false;  // and not yet as over
  bool sending_ = false;
  bool cut_ = false;
  bool ended_ = false;        // close_notify was said, or may not be
  bool below_ended_ = false;  // and all of it was sent
  bool end_told_ = false;     // the other side's, to a reader
};

task<tcp_stream> shake_hands(std::unique_ptr<tls_stream> made) {
  co_await made->shake_hands();
  co_return tcp_stream(std::move(made));
}

}  // namespace

task<tcp_stream> connect(tcp_stream over, context with, std::string host, std::source_location where) {
  if (with.get().side != role::client)
    throw misuse_error("tls::connect: the context is a server's; make one by tls::context::client", where);
  if (host.ends_with('.')) host.pop_back();  // RFC 6066 section 3
  if (host.empty() && with.get().verifies)
    throw misuse_error("tls::connect: the host is empty, so that the certificate cannot be verified", where);
  co_return co_await shake_hands(std::make_unique<tls_stream>(
      std::move(over), std::move(with), std::move(host), duration::max(), nullptr, where));
}

task<tcp_stream> accept(tcp_stream over, context with, std::source_location where) {
  if (with.get().side != role::server)
    throw misuse_error("tls::accept: the context is a client's; make one by tls::context::server", where);
  co_return co_await shake_hands(std::make_unique<tls_stream>(std::move(over), std::move(with), std::string(),
                                                              duration::max(), nullptr, where));
}

std::unique_ptr<stream_transport> make_accepted(tcp_stream over, context with, const listen_options& options,
                                                std::source_location where) {
  return std::make_unique<tls_stream>(std::move(over), std::move(with), std::string(),
                                      options.handshake_timeout, options.statistics, where);
}

std::optional<session> session_of(const tcp_stream& of) {
  const auto* found = dynamic_cast<const tls_stream*>(of.transport());
  return found != nullptr ? found->describe() : std::nullopt;
}

}  // namespace belay::io::tls

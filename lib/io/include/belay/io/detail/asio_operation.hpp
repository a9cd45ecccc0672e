// SPDX-License-Identifier: Apache-2.0
#pragma once
// One Asio operation as a Belay operation.

#include <belay/core/operation.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace belay::io::detail {

[[nodiscard]] boost::asio::io_context& loop_context();

struct throwing {};  // errors are thrown
struct whole {};     // all arguments are given

template <class A>
inline constexpr bool is_error_argument =
    std::is_same_v<A, boost::system::error_code> || std::is_same_v<A, std::exception_ptr>;

template <class... A>
struct values_of {
  using type = std::tuple<A...>;
};
template <class E, class... A>
  requires is_error_argument<E>
struct values_of<E, A...> {
  using type = std::tuple<A...>;
};

template <class Mode, class Initiation, class Args, class... A>
class asio_operation final : public belay::operation {
  using completion = std::tuple<std::decay_t<A>...>;

 public:
  template <class I, class... B>
  explicit asio_operation(I&& initiation, B&&... args)
      : initiation_(std::forward<I>(initiation)), args_(std::forward<B>(args)...) {}

  [[nodiscard]] awaited waits_for() const noexcept override { return {"I/O", ""}; }

  auto await_resume() {
    if (!completed_)
      throw boost::system::system_error(boost::asio::error::operation_aborted, "operation abandoned");
    if constexpr (std::is_same_v<Mode, whole>) {
      return std::move(*completed_);
    } else {
      return split(std::move(*completed_));
    }
  }

 private:
  // What Asio calls. Dropped without a call (its context was shut down), it still ends the wait.
  class handler {
   public:
    using cancellation_slot_type = boost::asio::cancellation_slot;
    using executor_type = boost::asio::io_context::executor_type;

    explicit handler(asio_operation& op) noexcept : op_(&op) {}
    handler(handler&& other) noexcept : op_(std::exchange(other.op_, nullptr)) {}
    handler& operator=(handler&&) = delete;
    ~handler() {
      if (op_ != nullptr) op_->complete();
    }
    void operator()(A... args) {
      asio_operation& op = *std::exchange(op_, nullptr);
      op.completed_.emplace(std::forward<A>(args)...);
      op.answered();
    }
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
      return op_->signal_.slot();
    }
    [[nodiscard]] executor_type get_executor() const noexcept { return op_->context_->get_executor(); }

   private:
    asio_operation* op_;
  };

  void start() override {
    context_ = &loop_context();
    std::apply([this](auto&... args) { std::move(initiation_)(handler(*this), std::move(args)...); }, args_);
  }

  bool abort() noexcept override {
    signal_.emit(boost::asio::cancellation_type::all);
    return false;
  }

  void answered() noexcept {
    if constexpr (sizeof...(A) > 0) {
      using first = std::tuple_element_t<0, completion>;
      if constexpr (std::is_same_v<first, boost::system::error_code>) {
        if (std::get<0>(*completed_) == boost::asio::error::operation_aborted && being_aborted()) {
          return complete_cancelled();
        }
      }
    }
    complete();
  }

  static auto split(completion&& all) {
    if constexpr (sizeof...(A) > 0) {
      using first = std::tuple_element_t<0, completion>;
      if constexpr (std::is_same_v<first, boost::system::error_code>) {
        if (std::get<0>(all)) throw boost::system::system_error(std::get<0>(all));
      } else if constexpr (std::is_same_v<first, std::exception_ptr>) {
        if (std::get<0>(all)) std::rethrow_exception(std::get<0>(all));
      }
      constexpr std::size_t skip = is_error_argument<first> ? 1 : 0;
      return unpack<skip>(std::move(all), std::make_index_sequence<sizeof...(A) - skip>());
    }
  }
  template <std::size_t Skip, std::size_t... I>
  static auto unpack(completion&& all, std::index_sequence<I...>) {
    if constexpr (sizeof...(I) == 0) {
      return;
    } else if constexpr (sizeof...(I) == 1) {
      return std::get<Skip>(std::move(all));
    } else {
      return std::make_tuple(std::get<Skip + I>(std::move(all))...);
    }
  }

  Initiation initiation_;
  Args args_;
  boost::asio::io_context* context_ = nullptr;
  boost::asio::cancellation_signal signal_;
  std::optional<completion> completed_;
};

}  // namespace belay::io::detail

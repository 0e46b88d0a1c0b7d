// Worker: a cluster whose workers are threads of this process, and serve functions by their names.
//
//     scaler::Worker worker({"tcp://127.0.0.1:2345"}, 4);
//     worker.serve("price", [](double spot, double strike) { return std::max(0.0, spot - strike); });
//     worker.run();
//
// What a function throws its caller gets as a failure. A function that runs cannot be stopped: what is cancelled while it
// runs keeps its slot until it ends.
//
// Not here: the bytes on the wire (protocol/README.md).
#pragma once

#include <scaler/common.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace scaler {

namespace detail {
class WorkerSession;
}

// What a call was given.
struct Arguments {
    Json positional;  // an array
    Json keywords;    // an object
};

class Worker {
  public:
    using Function = std::function<Json(const Arguments&)>;

    // So many calls run at a time, each in a thread of its own.
    Worker(const Connection& where, unsigned slots, const std::string& name = "cpp");
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Before `run`. The function takes `const Arguments&`, or values that JSON can be turned into.
    template <class F>
    void serve(const std::string& name, F function) {
        if constexpr (std::is_invocable_v<F, const Arguments&>)
            add(name, [function = std::move(function)](const Arguments& given) { return result_of(function, given); });
        else
            add_typed(name, std::function(std::move(function)));
    }

    // Joins, and serves until `stop`, or until the scheduler wants no workers any more. ConnectionError if it cannot be
    // reached, at first or any more.
    void run();
    // Have `run` return: what has begun is finished and answered, the rest is given back. From any thread, and from the
    // handler of a signal.
    void stop() noexcept;

  private:
    void add(const std::string& name, Function function);

    template <class F, class... Values>
    static Json result_of(F& function, Values&&... values) {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, Values...>>) {
            function(std::forward<Values>(values)...);
            return nullptr;
        } else {
            return function(std::forward<Values>(values)...);
        }
    }

    template <class Result, class... Values>
    void add_typed(const std::string& name, std::function<Result(Values...)> function) {
        add(name, [name, function = std::move(function)](const Arguments& given) {
            if (given.positional.size() != sizeof...(Values) || !given.keywords.empty())
                throw std::invalid_argument(name + " takes " + std::to_string(sizeof...(Values)) +
                                            " arguments, without keywords");
            return call(function, given.positional, std::index_sequence_for<Values...>());
        });
    }

    template <class Result, class... Values, std::size_t... At>
    static Json call(const std::function<Result(Values...)>& function, const Json& given, std::index_sequence<At...>) {
        return result_of(function, given[At].template get<std::decay_t<Values>>()...);
    }

    std::shared_ptr<detail::WorkerSession> session_;
};

}  // namespace scaler

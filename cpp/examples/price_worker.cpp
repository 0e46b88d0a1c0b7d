// A worker that prices options: price_worker ADDRESS [SLOTS]. It serves `black_scholes` until Ctrl-C or SIGTERM.
#include <scaler/worker.h>

#include <cmath>
#include <csignal>
#include <iostream>

namespace {

scaler::Worker* serving = nullptr;

double normal(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

// A European call, and how it changes with the spot. Black and Scholes, "The Pricing of Options and Corporate
// Liabilities", 1973.
scaler::Json black_scholes(double spot, double strike, double rate, double volatility, double years) {
    if (spot <= 0 || strike <= 0 || volatility <= 0 || years <= 0)
        throw std::invalid_argument("spot, strike, volatility and years are more than 0");
    const double spread = volatility * std::sqrt(years);
    const double d1 = (std::log(spot / strike) + (rate + volatility * volatility / 2) * years) / spread;
    const double price = spot * normal(d1) - strike * std::exp(-rate * years) * normal(d1 - spread);
    return {{"price", price}, {"delta", normal(d1)}};
}

}  // namespace

int main(int count, char** words) {
    if (count < 2) {
        std::cerr << "usage: price_worker ADDRESS [SLOTS]\n";
        return 2;
    }
    try {
        scaler::Worker worker({words[1]}, count > 2 ? static_cast<unsigned>(std::stoul(words[2])) : 1);
        worker.serve("black_scholes", black_scholes);
        serving = &worker;
        std::signal(SIGTERM, [](int) { serving->stop(); });
        std::signal(SIGINT, [](int) { serving->stop(); });
        worker.run();
    } catch (const scaler::Error& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}

// A client: price_client ADDRESS. Python workers run `math:sqrt`; a book is priced if somebody serves `black_scholes`.
#include <scaler/client.h>

#include <iostream>
#include <string>

int main(int count, char** words) {
    if (count < 2) {
        std::cerr << "usage: price_client ADDRESS [book]\n";
        return 2;
    }
    try {
        scaler::Client client({words[1]});
        if (count < 3) {
            auto root = client.submit("math:sqrt", {2.0});
            std::cout << "the root of 2 is " << root.get() << "\n";
            try {
                client.submit("math:sqrt", {-1.0}).get();
            } catch (const scaler::RemoteError& error) {
                std::cout << "of -1: " << error.type() << ", " << error.message() << "\n";
            }
            return 0;
        }
        std::vector<scaler::Json> book;
        for (int strike = 80; strike <= 120; strike += 20) book.push_back({100.0, strike, 0.02, 0.25, 1.0});
        for (const auto& row : client.map("black_scholes", book))
            std::cout << row["price"].get<double>() << "  delta " << row["delta"].get<double>() << "\n";
    } catch (const scaler::Error& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}

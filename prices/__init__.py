"""What usage costs. Pure: dated prices and sums of tokens in, exact decimals out.

price.py       a price and its validity, and the cost of sums that it applies to
catalogue.py   the dated prices of the package genai-prices
entry.py       a price of the operator's own, as the API takes it
book.py        which price applies: the operator's own first, then the catalogue
"""

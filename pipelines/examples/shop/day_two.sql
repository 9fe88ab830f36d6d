-- What the web shop sends on one day: new orders, deliveries, two customers who move, new prices.
-- `day_two` brings it into the shop's inbox, where the shop's triggers book it.

CREATE TABLE messages (
    id INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    sent_at TIMESTAMPTZ NOT NULL,
    customer_id INTEGER,
    order_id INTEGER,
    product_id INTEGER,
    quantity INTEGER,
    price DECIMAL(10, 2),
    country TEXT,
    city TEXT
);

WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 60)
INSERT INTO messages (id, kind, sent_at, customer_id, order_id, product_id, quantity, price)
SELECT
    n, 'order', strftime('%Y-%m-%d %H:%M:%S', '2024-07-15 06:00:00', format('+%d minutes', n * 13)) || '+00:00',
    1 + n * 7919 % 2000, 10000 + n, 1 + n * 577 % 200, 1 + n % 3, (1490 + n * 131 % 9000) / 100.0
FROM numbers;

WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 40)
INSERT INTO messages (id, kind, sent_at, order_id)
SELECT
    100 + n, 'delivery',
    strftime('%Y-%m-%d %H:%M:%S', '2024-07-15 09:00:00', format('+%d minutes', n * 7)) || '+00:00',
    9700 + n * 7
FROM numbers;

INSERT INTO messages (id, kind, sent_at, customer_id, country, city) VALUES
    (201, 'move', '2024-07-15 11:20:00+00:00', 1, 'PT', 'Porto'),
    (202, 'move', '2024-07-15 12:05:00+00:00', 2, 'DE', 'Leipzig');

INSERT INTO messages (id, kind, sent_at, product_id, price) VALUES
    (301, 'price', '2024-07-15 18:00:00+00:00', 5, 119.00),
    (302, 'price', '2024-07-15 18:00:00+00:00', 17, 259.00),
    (303, 'price', '2024-07-15 18:00:00+00:00', 42, 44.90);

-- A web shop of 2,000 customers, 200 products, 10,000 orders and some 25,000 order items.
-- Every row is computed from its number, so the shop is the same on every machine.

CREATE TABLE countries (
    code TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    vat_percent DECIMAL(4, 1) NOT NULL
);

CREATE TABLE customers (
    id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    phone TEXT,
    country TEXT NOT NULL REFERENCES countries (code),
    city TEXT NOT NULL,
    newsletter BOOLEAN NOT NULL,
    internal_note TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE products (
    id INTEGER NOT NULL PRIMARY KEY,
    sku TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    category TEXT NOT NULL,
    price DECIMAL(10, 2) NOT NULL,
    purchase_price DECIMAL(10, 2) NOT NULL,
    stock INTEGER NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE orders (
    id INTEGER NOT NULL PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    status TEXT NOT NULL CHECK (status IN ('draft', 'paid', 'shipped', 'delivered', 'returned', 'cancelled')),
    ordered_on DATE NOT NULL,
    total DECIMAL(12, 2) NOT NULL,
    payment_reference TEXT,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE order_items (
    id INTEGER NOT NULL PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL,
    unit_price DECIMAL(10, 2) NOT NULL
);

-- Messages of the web shop. The triggers at the end book what arrives here.
CREATE TABLE inbox (
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

-- Four well mixed numbers for each of 1..26,000.
CREATE TEMP TABLE dice AS
WITH RECURSIVE
    numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 26000),
    first (n, x) AS (SELECT n, (n * 48271 + 1013) % 2147483647 FROM numbers),
    second (n, x) AS (SELECT n, (x / 97 * 16807 + x % 97 * 69621031) % 2147483647 FROM first),
    third (n, x, y) AS (SELECT n, x, (x / 89 * 39373 + x % 89 * 40692073) % 2147483647 FROM second)
SELECT n, x % 9973 AS a, x / 9973 % 9949 AS b, y % 9941 AS c, y / 9941 % 9931 AS d FROM third;
CREATE UNIQUE INDEX temp.dice_n ON dice (n);

INSERT INTO countries (code, name, vat_percent) VALUES
    ('AT', 'Austria', 20), ('BE', 'Belgium', 21), ('CH', 'Switzerland', 8.1), ('CZ', 'Czechia', 21),
    ('DE', 'Germany', 19), ('DK', 'Denmark', 25), ('ES', 'Spain', 21), ('FI', 'Finland', 25.5),
    ('FR', 'France', 20), ('GB', 'United Kingdom', 20), ('IT', 'Italy', 22), ('NL', 'Netherlands', 21),
    ('NO', 'Norway', 25), ('PL', 'Poland', 23), ('PT', 'Portugal', 23), ('SE', 'Sweden', 25);

WITH lists (first_names, last_names, places) AS (VALUES (
    '["Ada","Amélie","Anna","Antoine","Beatriz","Bruno","Camille","Carla","Chiara","Clara","David","Elena","Elif","Emil","Emma","Erik","Eva","Felix","Freja","Giulia","Hanna","Hugo","Ida","Inês","Jakub","Jan","Jonas","Julia","Jürgen","Karin","Lars","Lea","Léa","Louis","Łukasz","Luca","Magda","Maja","Marek","Maria","Marta","Mateo","Max","Mia","Mila","Nils","Noah","Nora","Olga","Oskar","Paul","Petra","Sofia","Søren","Théo","Tomáš","Ulla","Viktor","Zoë","Zofia"]',
    '["Andersen","Bakker","Bauer","Bernard","Bianchi","Bonnet","Costa","de Vries","Dubois","Dvořák","Eriksson","Esposito","Fernandes","Fischer","Fontaine","García","Girard","Hansen","Hoffmann","Horák","Huber","Jansen","Janssens","Johansson","Keller","Klein","Kowalska","Kowalski","Krüger","Lambert","Larsen","Laurent","Lefèvre","Lindberg","López","Maes","Martin","Meyer","Moreau","Müller","Nielsen","Nowak","O''Brien","Peeters","Pereira","Petit","Ricci","Romano","Rossi","Roux","Santos","Schmidt","Schneider","Silva","Smit","Svensson","Virtanen","Wagner","Weber","Wiśniewska"]',
    '[["DE","Berlin"],["DE","Hamburg"],["DE","Köln"],["DE","Leipzig"],["DE","München"],["FR","Lyon"],["FR","Nantes"],["FR","Paris"],["FR","Toulouse"],["NL","Amsterdam"],["NL","Utrecht"],["BE","Antwerpen"],["BE","Liège"],["AT","Graz"],["AT","Wien"],["CH","Zürich"],["CZ","Brno"],["CZ","Praha"],["DK","Aarhus"],["DK","København"],["ES","Madrid"],["ES","Sevilla"],["FI","Tampere"],["GB","Leeds"],["GB","London"],["IT","Bologna"],["IT","Torino"],["NO","Bergen"],["PL","Gdańsk"],["PL","Kraków"],["PT","Porto"],["SE","Göteborg"]]'
)),
people AS (
    SELECT
        n, a, b, c, d,
        first_names ->> (a % 60) AS first_name,
        last_names ->> (b % 60) AS last_name,
        places -> (c % 32) AS place,
        strftime('%Y-%m-%d %H:%M:%S', '2021-01-01', format('+%d minutes', n * 850 + d % 800)) AS created
    FROM dice, lists
    WHERE n <= 2000
)
INSERT INTO customers
SELECT
    n,
    first_name || ' ' || last_name,
    lower(replace(replace(last_name, ' ', '-'), '''', '')) || '.' || n || '@example.com',
    CASE WHEN a % 4 > 0 THEN format('+49 30 %07d', b * 1009 % 9999991) END,
    place ->> 0,
    place ->> 1,
    c % 3 = 0,
    CASE d % 11 WHEN 0 THEN 'pays late' WHEN 1 THEN 'asks for gift wrapping' END,
    created || '+00:00',
    strftime('%Y-%m-%d %H:%M:%S', created, format('+%d hours', d % 600)) || '+00:00'
FROM people;

WITH lists (adjectives, things) AS (VALUES (
    '["Alpine","Classic","Compact","Everyday","Feather","Garden","Harbour","Heavy-duty","Little","Nordic","Quiet","Travel"]',
    '[["backpack","bags",7900],["bike lamp","bikes",3490],["bottle","kitchen",1890],["bread knife","kitchen",4590],["chair","home",12900],["coffee grinder","kitchen",8990],["desk lamp","home",6490],["doormat","home",2490],["headphones","electronics",11900],["jacket","clothing",13900],["keyboard","electronics",7490],["notebook","office",990],["pannier","bikes",6990],["pan","kitchen",5490],["rain coat","clothing",9900],["rucksack cover","bags",1990],["tent","outdoor",24900],["wool blanket","home",6900]]'
)),
articles AS (
    SELECT
        n, a, b, c, d,
        things -> (n % 18) AS thing,
        adjectives ->> (n / 18) AS adjective
    FROM dice, lists
    WHERE n <= 200
)
INSERT INTO products
SELECT
    n,
    format('%s-%04d', upper(substr(thing ->> 1, 1, 3)), 1000 + n),
    adjective || ' ' || (thing ->> 0),
    thing ->> 1,
    ((thing ->> 2) + a % 20 * 50) / 100.0,
    ((thing ->> 2) * (45 + b % 25) / 100) / 100.0,
    c % 140,
    strftime('%Y-%m-%d %H:%M:%S', '2024-01-01', format('+%d hours', d % 4300)) || '+00:00'
FROM articles;

-- Two and a half years of orders; early ones are finished, the last days are still moving.
INSERT INTO orders
SELECT
    n,
    1 + (a * 31 + b) % 2000,
    CASE
        WHEN n > 9700 THEN CASE c % 5 WHEN 0 THEN 'draft' WHEN 1 THEN 'shipped' ELSE 'paid' END
        WHEN c % 20 = 0 THEN 'cancelled'
        WHEN c % 20 = 1 THEN 'returned'
        WHEN c % 50 = 2 THEN 'draft'
        ELSE 'delivered'
    END,
    date('2022-01-01', format('+%d minutes', n * 131)),
    0,
    CASE WHEN c % 3 > 0 THEN format('PAY-%08d', (a * 9949 + b) % 99999989) END,
    strftime('%Y-%m-%d %H:%M:%S', '2022-01-01', format('+%d minutes', n * 131 + d % 4000)) || '+00:00'
FROM dice
WHERE n <= 10000;

INSERT INTO order_items
SELECT dice.n, order_id, product_id, 1 + d % 3 * (c % 2), price
FROM (
    -- Each order has one item at least; the others go to orders by chance.
    SELECT n, CASE WHEN n <= 10000 THEN n ELSE 1 + (a * 9949 + c) % 10000 END AS order_id, 1 + (b * 7 + d) % 200 AS item
    FROM dice
) AS placed
JOIN dice USING (n)
JOIN (SELECT id AS product_id, price FROM products) ON product_id = item
WHERE dice.n <= 25000;

UPDATE orders SET total = sums.total FROM (
    SELECT order_id, round(sum(quantity * unit_price), 2) AS total FROM order_items GROUP BY order_id
) AS sums WHERE sums.order_id = orders.id;

DROP TABLE temp.dice;

CREATE INDEX customers_updated_at ON customers (updated_at);
CREATE INDEX products_updated_at ON products (updated_at);
CREATE INDEX orders_updated_at ON orders (updated_at);

CREATE TRIGGER book_order AFTER INSERT ON inbox WHEN new.kind = 'order' BEGIN
    INSERT INTO orders (id, customer_id, status, ordered_on, total, updated_at)
    VALUES (new.order_id, new.customer_id, 'paid', date(new.sent_at), round(new.quantity * new.price, 2), new.sent_at);
    INSERT INTO order_items (order_id, product_id, quantity, unit_price)
    VALUES (new.order_id, new.product_id, new.quantity, new.price);
END;

CREATE TRIGGER book_delivery AFTER INSERT ON inbox WHEN new.kind = 'delivery' BEGIN
    UPDATE orders SET status = 'delivered', updated_at = new.sent_at
    WHERE id = new.order_id AND status IN ('paid', 'shipped');
END;

CREATE TRIGGER book_move AFTER INSERT ON inbox WHEN new.kind = 'move' BEGIN
    UPDATE customers SET country = new.country, city = new.city, updated_at = new.sent_at
    WHERE id = new.customer_id;
END;

CREATE TRIGGER book_price AFTER INSERT ON inbox WHEN new.kind = 'price' BEGIN
    UPDATE products SET price = new.price, updated_at = new.sent_at WHERE id = new.product_id;
END;

-- The agent's account makes an account for each session. The roles that those are in, and what they may do, come from
-- `assentry targets doctor shop --sql`, which the demo applies once the agent is there to look.
CREATE ROLE shop_agent LOGIN CREATEROLE PASSWORD :'password';
CREATE ROLE shop_preview LOGIN PASSWORD :'preview_password' NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 8;
CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    card text NOT NULL
);
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    total numeric(10, 2) NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO customers VALUES
    (1, 'Ada', 'ada@example.com', '4111 1111 1111 1111'),
    (2, 'Grace', 'grace@example.com', '5500 0000 0000 0004'),
    (3, 'Edsger', 'edsger@example.com', '3400 0000 0000 009');
INSERT INTO orders VALUES (1, 1, 19.90), (2, 2, 5.00), (3, 3, 42.00), (4, 1, 7.50);
GRANT SELECT ON customers, orders TO shop_preview;

-- One statement a line: what applications, drivers and people send. Read by test_sharing and test_fuzz.
SELECT abalance FROM pgbench_accounts WHERE aid = 12345;
UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 55;
UPDATE pgbench_tellers SET tbalance = tbalance + 10 WHERE tid = 5;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, CURRENT_TIMESTAMP);
select 1
select 'x'
select 1 as one, 'two' as two, null as three, true as four
select * from users where email = 'ann@example.org'
select id, name from users where id in (1, 2, 3) order by name limit 20
select id, name from users where id in (1, 2, 3) order by name limit 20 offset 40
select count(*) from orders where created_at > now() - interval '7 days'
select date '2024-01-01' + interval '1 month', timestamp '2024-01-01 00:00:00' at time zone 'UTC'
select o.id, c.name, sum(i.quantity * i.price) as total from orders o join customers c on c.id = o.customer_id join items i on i.order_id = o.id where o.status = 'open' group by o.id, c.name having sum(i.price) > 100 order by total desc limit 20
select u.*, row_number() over (partition by u.country order by u.created_at desc) as n from users u where u.age between 18 and 65
with recent as (select * from orders where created_at > '2024-01-01') select customer_id, count(*) from recent group by 1 order by 2 desc
with recursive t(n) as (values (1) union all select n + 1 from t where n < 100) select sum(n) from t
with moved as (delete from queue where id in (select id from queue where state = 'ready' order by id limit 10 for update skip locked) returning *) insert into done select * from moved
select case when a > 10 then 'big' when a > 5 then 'middle' else 'small' end from t
select coalesce(name, 'nobody'), nullif(a, 0), greatest(1, 2, a) from t
select * from t where name like 'a%' and note ilike '%b' or code similar to 'c[0-9]+' escape '!'
select * from t where name ~ '^a+$' and data @> '{"k": 1}' and data -> 'k' is not null and tags && array['x', 'y']
select * from t where (a, b) in ((1, 2), (3, 4)) and c is distinct from 5
select extract(epoch from created_at), date_trunc('day', created_at), to_char(a, '999.99') from t
select json_build_object('id', id, 'name', name) from users where id = 7
select jsonb_set(data, '{a,b}', '1') from t where id = 3
select * from generate_series(1, 10) as g(n) left join t on t.id = g.n
select * from t where exists (select 1 from o where o.t_id = t.id and o.kind = 'x')
select array(select id from o where o.kind = 'x'), (select max(id) from o)
select distinct on (customer_id) * from orders order by customer_id, created_at desc
select a from t union all select b from o where b > 5 intersect select 7 order by 1
select * from t tablesample bernoulli (5) repeatable (42)
select * from t, lateral (select * from o where o.t_id = t.id limit 3) x
select version()
select current_database(), current_user, session_user, current_schema
select pg_catalog.set_config('search_path', '', false)
select set_config(name, 'view, foreign-table', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'
select n.nspname as "Schema", c.relname as "Name", pg_catalog.pg_get_userbyid(c.relowner) as "Owner" from pg_catalog.pg_class c left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', '') and n.nspname <> 'pg_catalog' and n.nspname !~ '^pg_toast' and pg_catalog.pg_table_is_visible(c.oid) order by 1, 2
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) from pg_catalog.pg_attribute a where a.attrelid = '16384' and a.attnum > 0 and not a.attisdropped order by a.attnum
select t.typname, t.oid from pg_type t join pg_namespace n on t.typnamespace = n.oid where n.nspname = 'public'
select result.a, (information_schema._pg_expandarray(i.indkey)).n from pg_index i, result
insert into users (name, email) values ('Ann', 'ann@example.org'), ('Bob', 'bob@example.org') returning id
insert into users (id, name) values (1, 'x') on conflict (id) do update set name = excluded.name where users.name <> 'y'
insert into counts (k, n) values ('a', 1) on conflict do nothing
insert into archive select * from orders where created_at < '2020-01-01'
insert into t default values
update users set name = 'x', updated_at = now() where id = 5 returning id, name
update t set a = 1, b = default, (c, d) = (2, 'x') where id = any ('{1,2,3}')
update orders o set total = s.total from (select order_id, sum(price) as total from items group by 1) s where s.order_id = o.id
update users set deleted = true
delete from users where id = 7
delete from sessions where expires_at < now() - interval '1 day'
delete from a using b where a.id = b.id and b.kind = 'x'
delete from logs
merge into stock s using delivery d on s.item = d.item when matched then update set n = s.n + d.n when not matched then insert (item, n) values (d.item, d.n)
truncate table logs
begin
begin isolation level serializable read only
commit
rollback
savepoint sp1
release savepoint sp1
rollback to savepoint sp1
set search_path to app, public
set local statement_timeout = '5s'
set timezone = 'Europe/Berlin'
set session characteristics as transaction isolation level read committed
show transaction_isolation
reset all
discard all
deallocate all
prepare by_id (int) as select * from users where id = $1
execute by_id(5)
declare c cursor for select * from big_table
fetch 100 from c
close c
close all
listen jobs
notify jobs, 'ready'
unlisten *
copy users (id, name) to stdout with (format csv, header true)
copy users from stdin
copy (select id from users where id < 100) to stdout
explain (analyze, buffers, format json) select * from users where id = 5
create table notes (id bigint generated always as identity primary key, owner int not null references users (id) on delete cascade, body text default 'x' check (length(body) < 1000), created_at timestamptz default now())
create index concurrently if not exists notes_owner on notes (owner) where body is not null
create unique index on users (lower(email))
create or replace view active as select id, name from users where not deleted
create function add(a int, b int) returns int language sql immutable as 'select a + b'
create type mood as enum ('sad', 'ok', 'happy')
alter table users add column age int default 0, drop column if exists old, alter column name set not null
alter table orders add constraint positive check (total >= 0) not valid
alter sequence users_id_seq restart with 1000
drop table if exists tmp_a, tmp_b cascade
comment on table users is 'people'
grant select, insert on all tables in schema app to reader
create role reader login password 'x' valid until '2030-01-01'
vacuum (analyze) users
lock table users in share mode nowait
select nextval('users_id_seq')
select * from users where id = 1 for update
select pg_sleep(1)
select pg_advisory_xact_lock(42)
do $$ begin perform 1; end $$
call refresh_totals(5)

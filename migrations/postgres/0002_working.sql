-- What is not over: cancel_all, orders --open and the comparison with the broker's books ask for it, however many orders
-- there were before.
CREATE INDEX orders_working ON orders (admission) WHERE status NOT IN ('Filled', 'Cancelled', 'Rejected', 'Expired');

-- +goose Up
ALTER TABLE accounts ADD COLUMN expires INTEGER; -- of an address that nobody has proved
CREATE INDEX accounts_expires ON accounts (expires) WHERE expires IS NOT NULL;

"""Doubles of the key services of Google and Azure, after their REST documents: neither can be had on this machine.

They are strict where the services are (fields, sums, sign-in, what bytes they take back) and encrypt for real; that a
service behaves as it documents is not shown by them. AWS KMS is played by moto's server, Vault by itself."""

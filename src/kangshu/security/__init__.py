"""Who you are, what your role lets you do, and the keys and ciphers everything else stands on.

There is no front door: the modules are the interface. `sm` holds SM2, SM3 and SM4; `keys` the
platform's own keys; `sealing` the encryption and look-up digests of many identifiers at once;
`principals` and `policy` who may do what; `passwords`, `second_factor` and `tokens` the proofs;
`operations` and `queries` accounts, sessions and machine clients.
"""

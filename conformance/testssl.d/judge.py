"""What counts of testssl.sh's findings: judge.py FOUND.json. Grade A asks for TLS 1.2 and 1.3 alone, strong ciphers with forward
secrecy alone, a certificate that is believed, and no known vulnerability; everything above INFO is therefore a fault, but
for what is named here with its reason."""

import json
import sys

PASSED_OVER = {
    "cipher_order": "the client chooses, among strong ciphers alone: a phone without AES in hardware takes ChaCha20",
    "DNS_CAArecord": "the test's domain is in no public DNS",
    "security_headers": "are the application's, which alone knows what its pages load",
    "engine_problem": "is about the testing machine's own OpenSSL",
    "sessionresumption_ticket": "OpenSSL's client leaves before the ticket of TLS 1.3 is there; our own tests resume with it",
}
# If one of these is missing, the suite did not look.
LOOKED_AT = (
    "SSLv2 SSLv3 TLS1 TLS1_1 TLS1_2 TLS1_3 cipherlist_NULL cipherlist_aNULL cipherlist_EXPORT cipherlist_LOW "
    "cipherlist_3DES_IDEA cipherlist_STRONG PFS cert_trust cert_chain_of_trust heartbleed CCS ticketbleed ROBOT secure_renego "
    "secure_client_renego CRIME_TLS BREACH POODLE_SSL fallback_SCSV SWEET32 FREAK DROWN LOGJAM BEAST LUCKY13 RC4"
).split()
ORDER = ("OK", "INFO", "WARN", "LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL")

found = json.load(open(sys.argv[1]))
ids = {one["id"] for one in found}
faults = [f"{name}: was not looked at" for name in LOOKED_AT if name not in ids]
passed = 0
for one in found:
    severity, name = one["severity"], one["id"]
    if ORDER.index(severity) <= ORDER.index("INFO"):
        passed += severity == "OK"
    elif name in PASSED_OVER:
        print(f"passed over: {name} ({one['finding']}): {PASSED_OVER[name]}")
    else:
        faults.append(f"{severity} {name}: {one['finding']}")
for fault in faults:
    print(f"not as it should be: {fault}", file=sys.stderr)
print(f"testssl.sh: {passed} checks OK, {len(faults)} below grade A")
sys.exit(bool(faults))

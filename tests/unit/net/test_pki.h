/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates for tests, made in the process: EC P-256, valid for a day. Any failure aborts.
 */
#ifndef SR_TESTS_UNIT_NET_TEST_PKI_H
#define SR_TESTS_UNIT_NET_TEST_PKI_H

/* Where everything goes by name: "<dir>/<stem>.crt" and "<dir>/<stem>.key" (mode 0600). */

/* A self-signed CA "<dir>/<ca_name>.crt". */
void test_pki_make_ca(const char *dir, const char *ca_name);

/* A certificate for servers and clients alike, issued by @ca_name of the same directory.
 * @dns_names: comma-separated SAN names, NULL for none; @ip: one SAN address, NULL for none. */
void test_pki_issue(const char *dir, const char *ca_name, const char *file_stem,
                    const char *common_name, const char *dns_names, const char *ip);

/* As test_pki_issue, but expired since an hour. */
void test_pki_issue_expired(const char *dir, const char *ca_name, const char *file_stem,
                            const char *common_name, const char *dns_names, const char *ip);

/* The usual set: CA "ca"; "node-1", "node-2", "node-3" (CN and SAN DNS of that name, and
 * localhost, 127.0.0.1); "client" (CN client, no SAN); "root" (CN root, no SAN). */
void test_pki_make(const char *dir);

#endif

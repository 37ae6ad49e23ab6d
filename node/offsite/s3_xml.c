/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/s3_xml.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define DEPTH_MAX   16
#define ELEMENT_MAX 64

struct state {
    XML_Parser parser;
    sr_s3_element_cb call;
    void *arg;
    struct sr_err *err;
    int status;
    unsigned depth;
    char names[DEPTH_MAX][ELEMENT_MAX];
    char text[SR_S3_TEXT_MAX];
    size_t text_size;
};

static void stop(struct state *state, int status)
{
    if (state->status == SR_OK) {
        state->status = status;
        XML_StopParser(state->parser, XML_FALSE);
    }
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct state *state = arg;
    (void)attributes;
    if (state->depth == DEPTH_MAX || strlen(name) >= ELEMENT_MAX) {
        stop(state, sr_err_set(state->err, SR_FORMAT, "an answer that is too deep"));
        return;
    }
    snprintf(state->names[state->depth++], ELEMENT_MAX, "%s", name);
    state->text_size = 0;
}

static void on_end(void *arg, const XML_Char *name)
{
    struct state *state = arg;
    if (state->status != SR_OK) {
        return;
    }
    state->depth--;
    state->text[state->text_size] = 0;
    const char *parent = state->depth == 0 ? "" : state->names[state->depth - 1];
    int status = state->call(state->arg, parent, name, state->text, state->err);
    state->text_size = 0;
    if (status != SR_OK) {
        stop(state, status);
    }
}

static void on_text(void *arg, const XML_Char *text, int size)
{
    struct state *state = arg;
    if ((size_t)size >= sizeof(state->text) - state->text_size) {
        stop(state, sr_err_set(state->err, SR_FORMAT, "an answer with a text that is too long"));
        return;
    }
    memcpy(state->text + state->text_size, text, (size_t)size);
    state->text_size += (size_t)size;
}

/* S3 sends none, and where entities come from trouble does. */
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int has_internal_subset)
{
    struct state *state = arg;
    (void)name;
    (void)system;
    (void)public;
    (void)has_internal_subset;
    stop(state, sr_err_set(state->err, SR_FORMAT, "an answer with a document type"));
}

int sr_s3_xml_read(struct sr_bytes document, sr_s3_element_cb call, void *arg, struct sr_err *err)
{
    struct state *state = sr_zalloc(sizeof(*state));
    state->parser = XML_ParserCreate(NULL);
    state->call = call;
    state->arg = arg;
    state->err = err;
    int status = SR_OK;
    if (state->parser == NULL || document.size > INT32_MAX) {
        status = sr_err_set(err, SR_LIMIT, "no memory to read an answer");
    } else {
        XML_SetUserData(state->parser, state);
        XML_SetElementHandler(state->parser, on_start, on_end);
        XML_SetCharacterDataHandler(state->parser, on_text);
        XML_SetStartDoctypeDeclHandler(state->parser, on_doctype);
        enum XML_Status good =
            XML_Parse(state->parser, (const char *)document.data, (int)document.size, 1);
        status = state->status;
        if (status == SR_OK && good != XML_STATUS_OK) {
            status = sr_err_set(err, SR_FORMAT, "an answer that is not XML: %s",
                                XML_ErrorString(XML_GetErrorCode(state->parser)));
        }
    }
    if (state->parser != NULL) {
        XML_ParserFree(state->parser);
    }
    sr_free(state);
    return status;
}

static void keep_word(char *out, size_t size, const char *text)
{
    size_t used = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    if (text[used] == 0 && used < size) {
        memcpy(out, text, used + 1);
    }
}

static int on_error_element(void *arg, const char *parent, const char *name, const char *text,
                            struct sr_err *err)
{
    struct sr_s3_error *error = arg;
    (void)err;
    if (strcmp(parent, "Error") != 0) {
        return SR_OK;
    }
    if (strcmp(name, "Code") == 0) {
        keep_word(error->code, sizeof(error->code), text);
    } else if (strcmp(name, "Region") == 0) {
        keep_word(error->region, sizeof(error->region), text);
    }
    return SR_OK;
}

void sr_s3_xml_error(struct sr_bytes document, struct sr_s3_error *ret)
{
    memset(ret, 0, sizeof(*ret));
    /* What it says before it cannot be read counts: S3 repeats the whole request, of any length,
     * behind the code. A page of a proxy in between has no such elements. */
    if (document.size > 0) {
        (void)sr_s3_xml_read(document, on_error_element, ret, NULL);
    }
}

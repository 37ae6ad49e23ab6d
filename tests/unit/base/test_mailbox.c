/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <sched.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/mailbox.h"

#define PRODUCERS    4
#define PER_PRODUCER 50000

struct letter {
    struct sr_mail mail;
    unsigned producer;
    unsigned number;
};

static void count_wakes(void *arg)
{
    ++*(unsigned *)arg;
}

static void letters_come_out_in_order_and_wake_once(void **state)
{
    (void)state;
    unsigned wakes = 0;
    struct sr_mailbox box;
    struct letter letters[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    sr_mailbox_init(&box, 2, count_wakes, &wakes);
    assert_true(sr_mailbox_post(&box, &letters[0].mail));
    assert_true(sr_mailbox_post(&box, &letters[1].mail));
    assert_false(sr_mailbox_post(&box, &letters[2].mail)); /* the bound */
    sr_mailbox_post_always(&box, &letters[2].mail);
    assert_int_equal(wakes, 1);
    assert_int_equal(sr_mailbox_count(&box), 3);
    unsigned number = 0;
    for (struct sr_mail *mail = sr_mailbox_take(&box); mail != NULL; mail = mail->next) {
        assert_int_equal(sr_container(mail, struct letter, mail)->number, number++);
    }
    assert_int_equal(number, 3);
    assert_int_equal(sr_mailbox_count(&box), 0);
    assert_null(sr_mailbox_take(&box));
    sr_mailbox_close(&box);
}

static void a_list_keeps_its_order_behind_what_waits(void **state)
{
    (void)state;
    unsigned wakes = 0;
    struct sr_mailbox box;
    struct letter letters[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    sr_mailbox_init(&box, 10, count_wakes, &wakes);
    sr_mailbox_post(&box, &letters[0].mail);
    letters[1].mail.next = &letters[2].mail;
    letters[2].mail.next = &letters[3].mail;
    letters[3].mail.next = NULL;
    sr_mailbox_post_list(&box, &letters[1].mail);
    sr_mailbox_post_list(&box, NULL);
    unsigned number = 0;
    for (struct sr_mail *mail = sr_mailbox_take(&box); mail != NULL; mail = mail->next) {
        assert_int_equal(sr_container(mail, struct letter, mail)->number, number++);
    }
    assert_int_equal(number, 4);
    sr_mailbox_close(&box);
}

struct producer {
    struct sr_mailbox *box;
    unsigned id;
};

static void *produce(void *arg)
{
    struct producer *producer = arg;
    for (unsigned i = 0; i < PER_PRODUCER; i++) {
        struct letter *letter = sr_alloc(sizeof(*letter));
        letter->producer = producer->id;
        letter->number = i;
        while (!sr_mailbox_post(producer->box, &letter->mail)) {
            sched_yield();
        }
    }
    return NULL;
}

static void many_threads_lose_nothing_and_keep_their_order(void **state)
{
    (void)state;
    struct sr_mailbox box;
    pthread_t threads[PRODUCERS];
    struct producer producers[PRODUCERS];
    unsigned next[PRODUCERS] = {0};
    sr_mailbox_init(&box, 1000, NULL, NULL);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){&box, i};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    unsigned total = 0;
    while (total < PRODUCERS * PER_PRODUCER) {
        sr_mailbox_wait(&box, -1);
        struct sr_mail *mail = sr_mailbox_take(&box);
        while (mail != NULL) {
            struct letter *letter = sr_container(mail, struct letter, mail);
            mail = mail->next;
            assert_int_equal(letter->number, next[letter->producer]++);
            total++;
            sr_free(letter);
        }
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
    }
    sr_mailbox_close(&box);
}

static void a_kick_ends_a_wait_without_mail(void **state)
{
    (void)state;
    struct sr_mailbox box;
    sr_mailbox_init(&box, 1, NULL, NULL);
    sr_mailbox_kick(&box);
    sr_mailbox_wait(&box, -1); /* would hang without the kick */
    sr_mailbox_wait(&box, 1);  /* the kick is used up: this one times out */
    assert_null(sr_mailbox_take(&box));
    sr_mailbox_close(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_come_out_in_order_and_wake_once),
        cmocka_unit_test(a_list_keeps_its_order_behind_what_waits),
        cmocka_unit_test(many_threads_lose_nothing_and_keep_their_order),
        cmocka_unit_test(a_kick_ends_a_wait_without_mail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
